"""Schemas of tools: what is taken as one, which arguments fit, and that no schema holds up anybody."""

from __future__ import annotations

import json

import pytest

from llmos.kernel.gate.tools.schemas import MOST_DEPTH, STEPS_AT_ONCE, ArgumentSchema, OutOfSteps
from llmos.syscalls.abi.errors import InvalidArgument

CITY = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer", "minimum": 1},
        "tags": {"type": "array", "uniqueItems": True},
        "at": {"$ref": "#/$defs/place"},
    },
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {"place": {"type": "array", "items": {"type": "number"}}},
}


def check(schema: object, arguments: object, steps: int = STEPS_AT_ONCE) -> None:
    """Check arguments by a schema."""
    ArgumentSchema(json.dumps(schema)).check(json.dumps(arguments), steps)


@pytest.mark.parametrize(
    "arguments",
    [{"city": "Paris"}, {"city": "", "days": 2, "tags": [1, True, "1", [], {}]}, {"city": "x", "at": [1, 2.5]}],
)
def test_arguments_that_fit_pass(arguments: object) -> None:
    check(CITY, arguments)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({}, "'city' is a required property"),
        ({"city": 3}, r"\$\.city: 3 is not of type 'string'"),
        ({"city": "x", "days": 0}, r"\$\.days: 0 is less than the minimum"),
        ({"city": "x", "day": 1}, "there are no arguments named 'day'"),
        ({"city": "x", "tags": [1, 1.0]}, r"\$\.tags: the items are not all different"),
        ({"city": "x", "tags": [{"a": [1], "b": 2}, {"b": 2, "a": [1.0]}]}, "not all different"),
        ({"city": "x", "at": ["here"]}, r"\$\.at\[0\]"),
        (["Paris"], "must be a JSON object"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_with_the_place(arguments: object, complaint: str) -> None:
    with pytest.raises(InvalidArgument, match=complaint):
        check(CITY, arguments)


@pytest.mark.parametrize("text", ["", "{", "nonsense", '{"a": NaN}', '{"a": 1e999}', '{"a": ' + "9" * 5000 + "}"])
def test_arguments_that_are_no_json_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="must be JSON"):
        ArgumentSchema('{"type": "object"}').check(text, STEPS_AT_ONCE)


@pytest.mark.parametrize(
    ("schema", "complaint"),
    [
        ([], "must be a JSON object"),
        ({}, 'type of the schema is not "object"'),
        ({"type": "array"}, 'type of the schema is not "object"'),
        ({"type": "object", "properties": 3}, "no JSON schema"),
        ({"type": "object", "properties": {"a": {"type": "strin"}}}, "no JSON schema"),
        ({"type": "object", "properties": {"a": {"pattern": "("}}}, "no JSON schema"),
        ({"type": "object", "$schema": "http://json-schema.org/draft-07/schema#"}, "dialect"),
        ({"type": "object", "$ref": "http://127.0.0.1:9/x.json"}, "outside itself"),
        ({"type": "object", "properties": {"a": {"$ref": "file:///etc/passwd"}}}, "outside itself"),
        ({"type": "object", "$ref": "#/$defs/missing"}, "not there"),
        ({"type": "object", "properties": {"a": {"$id": "http://x/y"}}}, r"\$id"),
    ],
)
def test_what_is_no_schema_or_refers_to_elsewhere_is_refused(schema: object, complaint: str) -> None:
    with pytest.raises(InvalidArgument, match=complaint):
        ArgumentSchema(json.dumps(schema))


def nested(depth: int) -> object:
    """A value so deep."""
    value: object = 1
    for _ in range(depth):
        value = {"a": value}
    return value


def test_neither_schema_nor_arguments_may_be_deep() -> None:
    check({"type": "object"}, nested(MOST_DEPTH - 1))
    with pytest.raises(InvalidArgument, match="deeper"):
        check({"type": "object"}, nested(MOST_DEPTH))
    with pytest.raises(InvalidArgument, match="deeper"):
        check({"type": "object", "properties": nested(MOST_DEPTH)}, {})
    with pytest.raises(InvalidArgument):
        ArgumentSchema('{"type": "object"}').check("[" * 100_000, STEPS_AT_ONCE)


def test_a_schema_that_unfolds_without_end_or_nearly_so_ends_after_its_steps() -> None:
    definitions: dict[str, object] = {
        f"d{number}": {"allOf": [{"$ref": f"#/$defs/d{number + 1}"}] * 2} for number in range(14)
    }
    exploding = {"type": "object", "$ref": "#/$defs/d0", "$defs": {**definitions, "d14": {}}}
    with pytest.raises(OutOfSteps):
        check(exploding, {})
    with pytest.raises(InvalidArgument, match="refers to itself without end"):
        check({"type": "object", "$ref": "#"}, {})


def test_regular_expressions_of_strangers_are_left_to_the_app() -> None:
    evil = {"type": "string", "pattern": "^(a+)+$"}
    schema = {
        "type": "object",
        "properties": {"a": evil},
        "patternProperties": {"^(b+)+$": {"type": "string"}},
        "additionalProperties": False,
        "propertyNames": evil,
    }
    check(schema, {"a": "a" * 40 + "!", "b" * 40 + "!": 1})


def test_steps_are_counted_anew_for_each_check() -> None:
    schema = ArgumentSchema(json.dumps(CITY))
    for _ in range(5):
        schema.check('{"city": "Paris"}', 10)
    with pytest.raises(OutOfSteps):
        schema.check('{"city": "Paris"}', 3)
    schema.copy().check('{"city": "Paris"}', 10)
