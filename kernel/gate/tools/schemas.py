"""JSON schemas of tools' arguments (Draft 2020-12), as far as the kernel checks them.

It does not know tools or calls. Schemas and arguments come from strangers, so checking has an end:

- A schema is bounded in size and depth and refers to nothing outside itself; references that lead nowhere, or to
  what is no schema, are found when it is compiled.
- Each check has a number of steps, and every keyword that is evaluated costs some; one that needs more is refused.
- Regular expressions (`pattern`, `patternProperties`) are programs of strangers that nobody can interrupt: they are
  left to the app that offers the tool, and so is what depends on them (`unevaluatedItems`, `unevaluatedProperties`).
  `format` is an annotation, as the draft has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from llmos.kernel.gate.tools.keywords import REFERENCES, Json, OutOfSteps, Steps, counting_validator
from llmos.syscalls.abi.errors import InvalidArgument

__all__ = ["MOST_DEPTH", "STEPS_AT_ONCE", "STEPS_BESIDE", "ArgumentSchema", "OutOfSteps"]

MOST_DEPTH = 32
"""Nesting of a schema, and of arguments."""

STEPS_AT_ONCE = 1_000
STEPS_BESIDE = 200_000
"""Of one check in the loop, and beside it. A step takes a few microseconds."""

_LONGEST_COMPLAINT = 300
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class ArgumentSchema:
    """A schema that arguments are checked by. One check at a time."""

    def __init__(self, text: str) -> None:
        """Raises `InvalidArgument` for what is no schema, or none that is taken here."""
        self._text = text
        self._schema = _parse(text, "the schema")
        _check_shape(self._schema)
        # Both say what the document is, which is known; jsonschema would change its ways by them.
        self._schema.pop("$schema", None)
        self._schema.pop("$id", None)
        self._steps = Steps(self._schema)
        self._validator = counting_validator(self._steps, _targets(self._schema))(self._schema, registry=Registry())

    def copy(self) -> ArgumentSchema:
        """The same, for another thread."""
        return ArgumentSchema(self._text)

    def check(self, arguments: str, steps: int) -> None:
        """Raise `InvalidArgument` unless the arguments fit, `OutOfSteps` when that takes too long to say."""
        instance = _parse(arguments, "the arguments")
        self._steps.begin(instance, steps)
        try:
            fault = next(self._validator.iter_errors(instance), None)
        except RecursionError:
            raise InvalidArgument("the schema of the tool refers to itself without end", "tell who offers it") from None
        if fault is not None:
            raise InvalidArgument(
                f"the arguments do not fit the tool's schema: {_short(fault.json_path)}: {_short(fault.message)}",
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
        Draft202012Validator.check_schema(schema, format_checker=_formats())
    except SchemaError as error:
        path, message = _short(error.json_path), _short(error.message)
        raise InvalidArgument(f"no JSON schema: {path}: {message}", _DIALECT) from None
    except RecursionError:
        raise InvalidArgument("the schema is too deep", "make it flatter") from None


def _formats() -> FormatChecker:
    """What is checked of the texts in a schema: that regular expressions are some."""
    formats = FormatChecker(formats=())
    formats.checks("regex", raises=(re.error, OverflowError))(_is_regex)
    return formats


def _is_regex(text: object) -> bool:
    return not isinstance(text, str) or bool(re.compile(text))


def _targets(schema: dict[str, Json]) -> dict[str, Json]:
    """What each reference in a schema leads to: a part of it that is a schema, and so was checked as one."""
    parts = [*_parts(schema)]
    schemas = {id(part) for part in parts}
    resolver = Registry().with_resource("", DRAFT202012.create_resource(schema)).crawl().resolver()
    targets: dict[str, Json] = {}
    for part in parts:
        if part is not schema and ("$id" in part or "$schema" in part):
            raise InvalidArgument("a part of the schema has an $id or a $schema", "refer to it by #/$defs/NAME")
        for reference in (part[key] for key in REFERENCES if key in part):
            if not isinstance(reference, str) or not reference.startswith("#"):
                raise InvalidArgument(
                    f"the schema refers to {_short(str(reference))}, outside itself", "put it under $defs"
                )
            try:
                target: Json = resolver.lookup(reference).contents
            except (Unresolvable, ValueError, TypeError):
                # The last two: a number, or a name for a place in an array, is on its way.
                raise InvalidArgument(f"the schema refers to {_short(reference)}, which is not there") from None
            if not isinstance(target, bool) and id(target) not in schemas:
                raise InvalidArgument(f"the schema refers to {_short(reference)}, which is no schema")
            targets[reference] = target
    return targets


def _parts(schema: dict[str, Json]) -> Iterator[dict[str, Json]]:
    """A schema and all schemas in it, as the draft places them."""
    waiting: list[Json] = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            waiting += DRAFT202012.subresources_of(part)


def _short(text: str) -> str:
    half = _LONGEST_COMPLAINT // 2
    return text if len(text) <= _LONGEST_COMPLAINT else f"{text[:half]} ... {text[-half:]}"
