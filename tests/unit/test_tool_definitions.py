"""Functions as tools: the schema that comes of type hints and docstring, what they are called with, what is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import Literal, Optional

import msgspec
import pytest

from llmos.syscalls.abi.errors import InvalidArgument
from llmos.syscalls.sdk.tool_definitions import Definition, ToolCaller, define, result_text

ALICE = ToolCaller("alice", "default", "developer", 7)


class Unit(Enum):
    """A unit of temperature."""

    CELSIUS = "c"
    FAHRENHEIT = "f"


@dataclass
class Place:
    """Where."""

    city: str
    zone: int = 0


def weather(
    place: Place,
    days: int = 1,
    unit: Unit = Unit.CELSIUS,
    kind: Literal["short", "long"] = "short",
    near: Optional[list[float]] = None,  # noqa: UP045 - as people write it
    more: dict[str, bool] = {},  # noqa: B006 - as people write it
) -> str:
    """Tells the weather.

    In words.

    Args:
        place: where it is asked for
        days (int): how many days

    Returns:
        place: no argument
    """
    return f"{place.city} {days} {unit.value} {kind} {near} {more}"


def schema_of(definition: Definition) -> dict[str, object]:
    """The schema, read."""
    return dict(json.loads(definition.schema))


def test_hints_and_docstring_become_a_schema() -> None:
    definition = define(weather)
    schema = schema_of(definition)
    assert (definition.name, definition.description) == ("weather", "Tells the weather.\n\nIn words.")
    assert schema["type"] == "object"
    assert schema["required"] == ["place"]
    assert schema["additionalProperties"] is False
    properties = schema["properties"]
    assert isinstance(properties, dict)
    assert properties["days"] == {"description": "how many days", "type": "integer", "default": 1}
    assert properties["kind"] == {"enum": ["long", "short"], "default": "short"}
    assert properties["near"] == {
        "anyOf": [{"type": "array", "items": {"type": "number"}}, {"type": "null"}],
        "default": None,
    }
    assert "#/$defs/Place" in json.dumps(properties["place"])


def test_arguments_become_what_the_function_expects() -> None:
    definition = define(weather)
    given = definition.keywords('{"place": {"city": "Paris"}, "unit": "f", "near": [1]}', ALICE)
    assert definition.function(**given) == "Paris 1 f short [1.0] {}"
    with pytest.raises(msgspec.ValidationError):
        definition.keywords('{"place": {"city": "Paris"}, "unknown": 1}', ALICE)


def test_a_parameter_named_caller_is_told_who_calls_and_is_no_argument() -> None:
    def who(text: str, caller: ToolCaller) -> str:
        return f"{caller.principal} {text}"

    definition = define(who, description="Says who.", name="whoami", timeout=3, at_once=2)
    assert (definition.name, definition.description, definition.timeout, definition.at_once) == (
        "whoami",
        "Says who.",
        3,
        2,
    )
    assert list(dict(schema_of(definition)["properties"])) == ["text"]  # type: ignore[call-overload] # a dict
    assert who(**definition.keywords('{"text": "x"}', ALICE)) == "alice x"  # type: ignore[arg-type] # just these two


def test_what_the_kernel_leaves_to_the_app_is_checked_here() -> None:
    strict = {"type": "object", "properties": {"a": {}}, "unevaluatedProperties": False}
    definition = define("strict", schema=strict, handler=lambda **given: given)
    assert definition.keywords('{"a": 1}', ALICE) == {"a": 1}
    with pytest.raises(InvalidArgument, match="Unevaluated"):
        definition.keywords('{"b": 1}', ALICE)


def test_a_name_with_a_schema_and_a_handler_is_a_tool_and_its_patterns_are_checked_here() -> None:
    schema = {"type": "object", "properties": {"code": {"type": "string", "pattern": "^[A-Z]{2}$"}}}
    definition = define("country", "Tells a country.", schema, handler=lambda **given: given)
    assert definition.keywords('{"code": "FR"}', ALICE) == {"code": "FR"}
    with pytest.raises(InvalidArgument, match=r"\$\.code"):
        definition.keywords('{"code": "France"}', ALICE)


def test_sphinx_fields_describe_arguments_too() -> None:
    def greet(name: str) -> str:
        """Greets.

        :param str name: whom
        :returns: words
        """
        return name

    assert '"description":"whom"' in define(greet).schema
    assert define(greet).description == "Greets."


def untyped(text):  # type: ignore[no-untyped-def] # that is the point
    """Has no type hints."""
    return text


def starred(*words: str) -> str:
    """Has no names."""
    return " ".join(words)


def strange(what: Mystery) -> None:  # type: ignore[name-defined] # noqa: F821 - that is the point
    """Names a type that is not there."""


def opaque(what: Definition) -> None:
    """Takes what JSON cannot hold."""


@pytest.mark.parametrize("function", [untyped, starred, strange, opaque])
def test_a_function_that_cannot_be_described_is_refused(function: object) -> None:
    with pytest.raises(InvalidArgument):
        define(function)  # type: ignore[arg-type] # some are none
    with pytest.raises(InvalidArgument, match="needs a handler"):
        define("name")
    with pytest.raises(InvalidArgument, match="must be JSON"):
        define("name", schema={"type": object()}, handler=starred)


def test_results_are_json_or_a_type_error() -> None:
    assert result_text({"a": [1, None], "p": Place("Paris")}) == '{"a":[1,null],"p":{"city":"Paris","zone":0}}'
    with pytest.raises(TypeError):
        result_text(object())
