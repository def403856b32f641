"""Whatever is given as a schema and as arguments: it fits, it is refused, or its steps are over, and that is all."""

from __future__ import annotations

import json
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from llmos.kernel.gate.tools.keywords import Json
from llmos.kernel.gate.tools.schemas import STEPS_AT_ONCE, ArgumentSchema, OutOfSteps
from llmos.syscalls.abi.errors import InvalidArgument

NAMES = st.sampled_from(("a", "b", "$ref", "items", "0"))
NUMBERS = st.one_of(st.integers(-3, 3), st.sampled_from((0.5, 1e308, 1e-300, 10**400, -(10**30))))
PLAIN: st.SearchStrategy[Json] = st.one_of(
    st.none(), st.booleans(), NUMBERS, st.sampled_from(("", "a", "#", "object", "a{99999999999999999999}"))
)
VALUES: st.SearchStrategy[Json] = st.recursive(
    PLAIN, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)), max_leaves=8
)
REFERENCES = st.sampled_from(("#", "#/type", "#/properties", "#/properties/a", "#/$defs/a", "#/x", "#/anyOf/0", "#n"))


def schemas(inner: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    """Mostly what the draft says, now and then anything."""
    many, named = st.lists(inner, min_size=1, max_size=3), st.dictionaries(NAMES, inner, max_size=3)
    rows: dict[str, st.SearchStrategy[Json]] = {
        **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), many),
        **dict.fromkeys(("properties", "$defs", "dependentSchemas", "patternProperties"), named),
        **dict.fromkeys(("items", "contains", "not", "if", "then", "else", "propertyNames"), inner),
        **dict.fromkeys(("additionalProperties", "unevaluatedItems", "unevaluatedProperties"), inner),
        **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), NUMBERS),
        **dict.fromkeys(("minItems", "maxLength", "minProperties", "minContains"), st.integers(0, 3)),
        **dict.fromkeys(("$ref", "$dynamicRef"), REFERENCES),
        **dict.fromkeys(("$anchor", "$dynamicAnchor"), st.just("n")),
        "type": st.sampled_from(("object", "array", "number", "integer", "string", "boolean", "null")),
        "enum": st.lists(VALUES, max_size=3),
        "const": VALUES,
        "uniqueItems": st.booleans(),
        "required": st.lists(NAMES, max_size=2, unique=True),
        "dependentRequired": st.dictionaries(NAMES, st.lists(NAMES, max_size=2, unique=True), max_size=2),
        "pattern": st.sampled_from(("a", "(", "a{99999999999999999999}")),
        "$schema": st.just("http://json-schema.org/draft-07/schema#"),
        "x": VALUES,
    }
    named_rows = [st.tuples(st.just(name), value) for name, value in rows.items()]
    return st.one_of(st.booleans(), st.lists(st.one_of(named_rows), max_size=4).map(dict), VALUES)


SCHEMAS: st.SearchStrategy[Json] = st.recursive(st.booleans(), schemas, max_leaves=12)


@settings(max_examples=600, deadline=None)
@given(st.dictionaries(NAMES, SCHEMAS, max_size=3), SCHEMAS, st.dictionaries(NAMES, VALUES, max_size=3))
def test_a_check_ends_in_one_of_three_ways(properties: Json, more: Json, arguments: Json) -> None:
    schema: dict[str, Json] = {**(more if isinstance(more, dict) else {}), "type": "object", "properties": properties}
    with suppress(InvalidArgument, OutOfSteps):
        ArgumentSchema(json.dumps(schema)).check(json.dumps(arguments), STEPS_AT_ONCE)
