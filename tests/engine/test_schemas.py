"""A thousand random schemas: what is written under each is valid, and nearly all of it comes to its end.

The model knows nothing, its tokenizer is a real one: whatever a grammar lets through, it writes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jsonschema
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from llmos.kernel.ports.engine import Grammar, GrammarKind, SamplingParameters
from tests.engine.plan_driver import PlanDriver, Tracked

pytestmark = pytest.mark.e2e

Schema = dict[str, object]

AT_ONCE, ROUNDS = 20, 50
MOST_TOKENS = 120
END = 2
PROMPT = [400, 500, 600]
NAMES = ("a", "b", "name", "x y", "\u00e4")
SCALARS: list[object] = [None, True, False, 0, -7, 12.5, "", "red", '\u00fc\n"q"', "\u65e5\u672c"]


def strings() -> st.SearchStrategy[Schema]:
    return st.tuples(st.integers(0, 4), st.integers(0, 4)).map(
        lambda bounds: {"type": "string", "minLength": bounds[0], "maxLength": sum(bounds)}
    )


def numbers(kind: str) -> st.SearchStrategy[Schema]:
    return st.tuples(st.integers(-500, 500), st.integers(1, 1000)).map(
        lambda bounds: {"type": kind, "minimum": bounds[0], "maximum": sum(bounds)}
    )


LEAVES: st.SearchStrategy[Schema] = st.one_of(
    strings(),
    numbers("integer"),
    st.sampled_from(["boolean", "null"]).map(lambda kind: {"type": kind}),
    st.lists(st.sampled_from(SCALARS), min_size=1, max_size=4).map(lambda values: {"enum": values}),
    st.sampled_from(SCALARS).map(lambda value: {"const": value}),
    st.sampled_from(["^[A-Z]{2}[0-9]{1,3}$", "^(ab|cd){1,3}$", "^x?y{2}$"]).map(
        lambda pattern: {"type": "string", "pattern": pattern}
    ),
)


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[Schema]) -> Schema:
    properties = draw(st.dictionaries(st.sampled_from(NAMES), inner, max_size=3))
    required = draw(st.lists(st.sampled_from(sorted(properties)), unique=True)) if properties else []
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


@st.composite
def arrays(draw: st.DrawFn, inner: st.SearchStrategy[Schema]) -> Schema:
    least = draw(st.integers(0, 2))
    return {"type": "array", "items": draw(inner), "minItems": least, "maxItems": least + draw(st.integers(0, 2))}


def deeper(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    return st.one_of(
        objects(inner),
        arrays(inner),
        st.lists(inner, min_size=1, max_size=3).map(lambda given: {"anyOf": given}),
        inner.map(lambda given: {"type": "array", "prefixItems": [given], "items": False, "minItems": 1}),
    )


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    schema = draw(st.recursive(LEAVES, deeper, max_leaves=5))
    if draw(st.booleans()):
        return schema
    return {"$defs": {"it": schema}, "type": "array", "items": {"$ref": "#/$defs/it"}, "minItems": 1, "maxItems": 2}


@dataclass(slots=True)
class Tally:
    """How many were written, and how many of them came to their end."""

    written: int = 0
    ended: int = 0
    cut: list[Schema] = field(default_factory=list)


@pytest.fixture(scope="module")
def driver(adversary: Path) -> Iterator[PlanDriver]:
    threads = torch.get_num_threads()
    yield PlanDriver(adversary, device_pages=AT_ONCE * 16)
    torch.set_num_threads(threads)


def write(driver: PlanDriver, given: Sequence[Schema]) -> list[list[int]]:
    """What is written under each, all at once: half of them greedily, half by chance."""
    batch = [
        driver.open(
            PROMPT,
            SamplingParameters(
                temperature=float(number % 2),
                top_k=50,
                seed=number,
                grammar=Grammar(GrammarKind.SCHEMA, json.dumps(schema)),
            ),
        )
        for number, schema in enumerate(given)
    ]
    left: list[Tracked] = batch
    while left:
        outcome = driver.plan(
            [driver.chunk(tracked, len(tracked.tokens) - tracked.fed, sample=True) for tracked in left]
        )
        assert not outcome.broken, [given[batch.index(tracked)] for tracked in left]
        for tracked in left:
            driver.take(tracked, outcome)
        left = [one for one in left if one.tokens[-1] != END and len(one.tokens) < len(PROMPT) + MOST_TOKENS]
    for tracked in batch:
        driver.close(tracked)
    return [tracked.tokens[len(PROMPT) :] for tracked in batch]


def test_whatever_is_written_under_a_schema_is_valid(driver: PlanDriver, adversary: Path) -> None:
    tokenizer, tally = Tokenizer.from_file(str(adversary / "tokenizer.json")), Tally()

    @settings(
        max_examples=ROUNDS,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(schemas(), min_size=AT_ONCE, max_size=AT_ONCE))
    def check(given: list[Schema]) -> None:
        for schema, tokens in zip(given, write(driver, given), strict=True):
            tally.written += 1
            if tokens[-1] != END:
                tally.cut.append(schema)
                continue
            tally.ended += 1
            jsonschema.validate(json.loads(tokenizer.decode(tokens)), schema)

    check()
    assert tally.written >= AT_ONCE * ROUNDS
    assert tally.ended >= 0.9 * tally.written, tally.cut[:5]
    print(f"{tally.ended} of {tally.written} came to their end")
