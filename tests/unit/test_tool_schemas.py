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
        schema.check('{"city": "Paris"}', 20)
    with pytest.raises(OutOfSteps):
        schema.check('{"city": "Paris"}', 3)
    schema.copy().check('{"city": "Paris"}', 20)


@pytest.mark.parametrize(
    "reference", ["#/type", "#/properties", "#/properties/a/minimum", "#/x", "#/properties/a/minimum/x", "#/anyOf/x"]
)
def test_a_reference_leads_to_a_schema_or_is_refused(reference: str) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"minimum": 5, "$ref": reference}, "minimum": {"type": "number"}},
        "anyOf": [{}],
        "x": {"multipleOf": 0, "enum": 5},
    }
    with pytest.raises(InvalidArgument, match="refers to"):
        ArgumentSchema(json.dumps(schema))


@pytest.mark.parametrize("reference", ["#", "#/$defs/n", "#/definitions/n", "#n", "#/properties/n"])
def test_references_to_schemas_are_followed(reference: str) -> None:
    number = {"type": "number"}
    schema = {
        "type": "object",
        "properties": {"a": {"$ref": reference}, "n": number},
        "$defs": {"n": {"$anchor": "n", **number}},
        "definitions": {"n": number},
    }
    with pytest.raises(InvalidArgument, match=r"\$\.a: 'x' is not of type '(number|object)'"):
        check(schema, {"a": "x"})


@pytest.mark.parametrize("dialect", ["https://json-schema.org/draft/2020-12/schema", "http://json-schema.org/schema#"])
def test_no_part_of_a_schema_chooses_another_way_to_be_checked(dialect: str) -> None:
    part = {"$schema": dialect, "pattern": "^(a+)+$"}
    with pytest.raises(InvalidArgument, match=r"\$schema"):
        check({"type": "object", "properties": {"a": part}}, {"a": "a" * 40 + "!"})


def test_a_schema_that_names_its_dialect_and_itself_is_bounded_as_any_other() -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "http://127.0.0.1:9/schema.json",
        "type": "object",
        "properties": {"again": {"$ref": "#"}, "a": {"pattern": "^(a+)+$"}},
    }
    check(schema, {"again": {"a": "a" * 40 + "!"}})
    with pytest.raises(InvalidArgument, match=r"\$\.again: 1 is not of type 'object'"):
        check(schema, {"again": 1})


def test_arguments_may_have_the_names_of_keywords() -> None:
    properties = {name: {"type": "string"} for name in ("$id", "$ref", "$schema", "pattern")}
    schema = {"type": "object", "properties": {**properties, "one": {"const": {"$ref": "http://127.0.0.1:9/x"}}}}
    check(schema, {**dict.fromkeys(properties, "x"), "one": {"$ref": "http://127.0.0.1:9/x"}})


@pytest.mark.parametrize(
    ("wanted", "given", "fits"),
    [
        ("0.5", "1" + "0" * 400, True),
        ("1" + "0" * 400, "1.5", False),
        ("1e-300", "1e308", False),
        ("3", "9", True),
        ("3", "10", False),
        ("0.5", "true", True),
    ],
)
def test_multiples_are_told_of_numbers_of_any_size(wanted: str, given: str, fits: bool) -> None:
    schema = ArgumentSchema('{"type": "object", "properties": {"a": {"multipleOf": ' + wanted + "}}}")
    if fits:
        schema.check('{"a": ' + given + "}", STEPS_AT_ONCE)
    else:
        with pytest.raises(InvalidArgument, match="is not a multiple"):
            schema.check('{"a": ' + given + "}", STEPS_AT_ONCE)


def test_a_regular_expression_that_counts_too_far_is_none() -> None:
    with pytest.raises(InvalidArgument, match="no JSON schema"):
        ArgumentSchema(json.dumps({"type": "object", "properties": {"a": {"pattern": "a{" + "9" * 20 + "}"}}}))


NUMBERS = list(range(1500))


@pytest.mark.parametrize(
    ("part", "given"),
    [
        ({"enum": [[number] for number in range(10_000)]}, 1),
        ({"const": NUMBERS * 6}, 1),
        ({"allOf": [{"items": {}}] * 10}, NUMBERS),
        ({"allOf": [{"contains": {}}] * 10}, NUMBERS),
        ({"allOf": [{"uniqueItems": True}] * 20}, NUMBERS),
        ({"anyOf": [{"type": "string"}] * 20}, [NUMBERS]),
        ({"properties": {str(number): True for number in range(2000)}}, {}),
        ({"anyOf": [{"type": "integer"}] * 50}, "x" * 4000),
    ],
)
def test_what_one_keyword_looks_at_is_paid_for(part: object, given: object) -> None:
    with pytest.raises(OutOfSteps):
        check({"type": "object", "properties": {"a": part}}, {"a": given})


def test_complaints_are_short_whatever_the_names() -> None:
    with pytest.raises(InvalidArgument) as caught:
        check({"type": "object", "additionalProperties": {"type": "string"}}, {"k" * 3000: 1})
    assert len(caught.value.message) < 800


def test_what_depends_on_regular_expressions_is_left_to_the_app() -> None:
    left = {"unevaluatedProperties": False, "properties": {"b": {"unevaluatedItems": False}}}
    check({"type": "object", **left}, {"a": 1, "b": [1]})
