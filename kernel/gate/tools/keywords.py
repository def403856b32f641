"""The keywords of JSON schemas (Draft 2020-12) with what each costs, so that checking has an end whatever the schema.

It does not know where schemas come from. Rules: a keyword is paid for, in steps of a few microseconds, before it is
evaluated: by what it looks at in the arguments, and by what it looks at in the schema. What nobody can bound is left
out: regular expressions, and what depends on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction

import msgspec
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Keyword = Callable[..., Iterator[ValidationError] | None]
"""As jsonschema has it: (validator, value of the keyword, instance, schema)."""

REFERENCES = ("$ref", "$dynamicRef")

_GLANCES = 8
"""Values that are compared or written into a complaint in the time of one step."""

_LETTERS = 16
"""Of a string, for one such value."""


class OutOfSteps(Exception):
    """A check was not over after its steps."""


class Steps:
    """What is left for one check, and how much the values hold that it looks at."""

    def __init__(self, schema: Json) -> None:
        # Of objects and arrays, by their identity: the schema's live as long as this, the instance's as the check.
        self._of_schema: dict[int, int] = {}
        self._of_instance: dict[int, int] = {}
        self._left = 0
        _weigh(schema, self._of_schema)

    def begin(self, instance: Json, steps: int) -> None:
        """A check of this begins, which may take so many."""
        self._left = steps
        self._of_instance.clear()
        _weigh(instance, self._of_instance)

    def pay(self, keyword: str, value: Json, instance: Json) -> None:
        """Raise `OutOfSteps` when nothing is left for this keyword."""
        self._left -= 1 + _weight(instance, self._of_instance) // _GLANCES
        if keyword in _COMPARED:
            self._left -= _weight(value, self._of_schema) // _GLANCES
        elif isinstance(value, list | dict):
            self._left -= len(value)
        if keyword in _EACH and isinstance(instance, list | dict):
            self._left -= len(instance)
        if self._left < 0:
            raise OutOfSteps


_COMPARED = frozenset({"const", "enum"})

_EACH = frozenset({"additionalProperties", "contains", "items", "prefixItems", "properties", "propertyNames"})
"""Keywords that look into everything in an object or an array."""


def counting_validator(steps: Steps, targets: Mapping[str, Json]) -> type[Draft202012Validator]:
    """The validator of the draft, paying for each keyword; `targets` are what the schema's references lead to."""

    def follow(
        validator: Draft202012Validator, reference: str, instance: Json, schema: Json
    ) -> Iterator[ValidationError]:
        # Within one document a dynamic reference leads where the plain one does.
        yield from validator.descend(instance, targets[reference])

    own: dict[str, Keyword] = dict.fromkeys(REFERENCES, follow)
    own |= {
        "pattern": _not_here,
        "patternProperties": _not_here,
        "unevaluatedItems": _not_here,
        "unevaluatedProperties": _not_here,
        "additionalProperties": _additional_properties,
        "multipleOf": _multiple_of,
        "uniqueItems": _unique_items,
    }
    keywords = {**Draft202012Validator.VALIDATORS, **own}
    paid = {name: _paid(name, keyword, steps) for name, keyword in keywords.items()}
    validator: type[Draft202012Validator] = extend(Draft202012Validator, paid)
    return validator


def _paid(name: str, keyword: Keyword, steps: Steps) -> Keyword:
    def check(
        validator: Draft202012Validator, value: Json, instance: Json, schema: Json
    ) -> Iterator[ValidationError] | None:
        steps.pay(name, value, instance)
        return keyword(validator, value, instance, schema)

    return check


def _weigh(value: Json, weights: dict[int, int]) -> int:
    """How many values it holds, long strings counting for more; of everything in it, into `weights`."""
    if isinstance(value, dict):
        weight = 1 + sum(_letters(name) + _weigh(child, weights) for name, child in value.items())
    elif isinstance(value, list):
        weight = 1 + sum(_weigh(child, weights) for child in value)
    else:
        return _letters(value)
    weights[id(value)] = weight
    return weight


def _weight(value: Json, weights: Mapping[int, int]) -> int:
    return weights.get(id(value), 1) if isinstance(value, list | dict) else _letters(value)


def _letters(value: Json) -> int:
    return 1 + len(value) // _LETTERS if isinstance(value, str) else 1


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


def _multiple_of(
    validator: Draft202012Validator, wanted: int | float, instance: Json, schema: Json
) -> Iterator[ValidationError]:
    """As jsonschema's own, and exact where its numbers are too large for it."""
    if isinstance(instance, bool) or not isinstance(instance, int | float):
        return
    try:
        multiple = _is_whole(instance / wanted) if isinstance(wanted, float) else instance % wanted == 0
    except OverflowError:
        multiple = (Fraction(instance) / Fraction(wanted)).denominator == 1
    if not multiple:
        yield ValidationError(f"{instance!r} is not a multiple of {wanted}")


def _is_whole(quotient: float) -> bool:
    """Raises `OverflowError` for one without end."""
    return int(quotient) == quotient


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
