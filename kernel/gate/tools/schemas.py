"""JSON schemas of tools' arguments (Draft 2020-12), as far as the kernel checks them.

It does not know tools or calls. Schemas and arguments come from strangers, so checking has an end:

- A schema is bounded in size and depth and refers to nothing outside itself; references that lead nowhere are found
  when it is compiled.
- Each check has a number of steps (keywords that are evaluated); one that needs more is refused.
- Regular expressions (`pattern`, `patternProperties`) are programs of strangers that nobody can interrupt: they are
  left to the app that offers the tool, and so is what depends on them. `format` is an annotation, as the draft has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import msgspec
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from llmos.syscalls.abi.errors import InvalidArgument

MOST_DEPTH = 32
"""Nesting of a schema, and of arguments."""

STEPS_AT_ONCE = 1_000
STEPS_BESIDE = 200_000
"""Keywords that one check evaluates in the loop, and beside it."""

_LONGEST_COMPLAINT = 300
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REFERENCES = ("$ref", "$dynamicRef")

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Keyword = Callable[..., Iterator[ValidationError] | None]
"""As jsonschema has it: (validator, value of the keyword, instance, schema)."""


class OutOfSteps(Exception):
    """A check was not over after its steps."""


@dataclass(slots=True, eq=False)
class _Steps:
    left: int = 0

    def take(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise OutOfSteps


class ArgumentSchema:
    """A schema that arguments are checked by. One check at a time."""

    def __init__(self, text: str) -> None:
        """Raises `InvalidArgument` for what is no schema, or none that is taken here."""
        self._text = text
        schema = _parse(text, "the schema")
        _check_shape(schema)
        self._steps = _Steps()
        self._validator = _counting(self._steps)(schema, registry=Registry())

    def copy(self) -> ArgumentSchema:
        """The same, for another thread."""
        return ArgumentSchema(self._text)

    def check(self, arguments: str, steps: int) -> None:
        """Raise `InvalidArgument` unless the arguments fit, `OutOfSteps` when that takes too long to say."""
        self._steps.left = steps
        instance = _parse(arguments, "the arguments")
        try:
            fault = next(self._validator.iter_errors(instance), None)
        except RecursionError:
            raise InvalidArgument("the schema of the tool refers to itself without end", "tell who offers it") from None
        if fault is not None:
            raise InvalidArgument(
                f"the arguments do not fit the tool's schema: {fault.json_path}: {_short(fault.message)}",
                "llmosctl tool list --json shows the schema",
            )


def _parse(text: str, what: str) -> dict[str, Json]:
    try:
        value: Json = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        raise InvalidArgument(f"{what} must be JSON: {error}", 'a JSON object, such as {"city": "Paris"}') from None
    if not isinstance(value, dict):
        raise InvalidArgument(f"{what} must be a JSON object", 'a JSON object, such as {"city": "Paris"}')
    if _depth(value) > MOST_DEPTH:
        raise InvalidArgument(f"{what} may not be nested deeper than {MOST_DEPTH}", "make it flatter")
    return value


def _depth(value: Json) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [child for one in level for child in _children(one)]
        if depth > MOST_DEPTH:
            break
    return depth


def _children(value: Json) -> list[Json]:
    match value:
        case dict():
            return list(value.values())
        case list():
            return value
        case _:
            return []


def _check_shape(schema: dict[str, Json]) -> None:
    if schema.get("$schema", _DIALECT) != _DIALECT:
        raise InvalidArgument(f"the schema is not of the dialect {_DIALECT}", "leave $schema out, or translate it")
    if schema.get("type") != "object":
        raise InvalidArgument('the type of the schema is not "object"', "arguments have names: an object of them")
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise InvalidArgument(f"no JSON schema: {error.json_path}: {_short(error.message)}", _DIALECT) from None
    except RecursionError:
        raise InvalidArgument("the schema is too deep", "make it flatter") from None
    _check_references(schema)


def _check_references(schema: dict[str, Json]) -> None:
    resolver = Registry().with_resource("", DRAFT202012.create_resource(schema)).resolver()
    for part in _objects(schema):
        if part is not schema and "$id" in part:
            raise InvalidArgument("a part of the schema has an $id", "refer to it by #/$defs/NAME")
        for reference in (part[key] for key in _REFERENCES if key in part):
            if not isinstance(reference, str) or not reference.startswith("#"):
                raise InvalidArgument(
                    f"the schema refers to {_short(str(reference))}, outside itself", "put it under $defs"
                )
            try:
                resolver.lookup(reference)
            except Unresolvable:
                raise InvalidArgument(f"the schema refers to {_short(reference)}, which is not there") from None


def _objects(schema: Json) -> Iterator[dict[str, Json]]:
    waiting = [schema]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
        waiting += _children(value)


def _counting(steps: _Steps) -> type[Draft202012Validator]:
    """The validator of the draft, with a step for each keyword and without what cannot be bounded."""
    own: Mapping[str, Keyword] = {
        "pattern": _not_here,
        "patternProperties": _not_here,
        "unevaluatedProperties": _not_here,
        "additionalProperties": _additional_properties,
        "uniqueItems": _unique_items,
    }
    keywords = {**Draft202012Validator.VALIDATORS, **own}
    counted = {name: _counted(keyword, steps) for name, keyword in keywords.items()}
    validator: type[Draft202012Validator] = extend(Draft202012Validator, counted)
    return validator


def _counted(keyword: Keyword, steps: _Steps) -> Keyword:
    def check(*arguments: object) -> Iterator[ValidationError] | None:
        steps.take()
        return keyword(*arguments)

    return check


def _not_here(*arguments: object) -> None:
    """Left to the app."""


def _additional_properties(
    validator: Draft202012Validator, wanted: Json, instance: Json, schema: dict[str, Json]
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict) or "patternProperties" in schema:
        return
    known = schema.get("properties", {})
    extra = [name for name in instance if not isinstance(known, dict) or name not in known]
    if wanted is False and extra:
        yield ValidationError(f"there are no arguments named {', '.join(map(repr, extra[:5]))}")
    elif isinstance(wanted, dict):
        for name in extra:
            yield from validator.descend(instance[name], wanted, path=name)


def _unique_items(
    validator: Draft202012Validator, wanted: Json, instance: Json, schema: Json
) -> Iterator[ValidationError]:
    """In one pass; jsonschema's own compares every item with every other one."""
    if wanted is True and isinstance(instance, list):
        seen = {msgspec.json.encode(_canonical(item), order="deterministic") for item in instance}
        if len(seen) < len(instance):
            yield ValidationError("the items are not all different")


def _canonical(value: Json) -> Json:
    """1 and 1.0 are the same number."""
    match value:
        case bool():
            return value
        case float() if value.is_integer():
            return int(value)
        case list():
            return [_canonical(item) for item in value]
        case dict():
            return {name: _canonical(item) for name, item in value.items()}
        case _:
            return value


def _short(text: str) -> str:
    half = _LONGEST_COMPLAINT // 2
    return text if len(text) <= _LONGEST_COMPLAINT else f"{text[:half]} ... {text[-half:]}"
