"""Constrained decoding in the engine: what is written fits its grammar, whatever the model, the sampler, a restart."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from llmos.drivers.engine.masks import Constraint, GrammarMasks
from llmos.kernel.ports.engine import Broken, Grammar, GrammarKind, SamplingParameters
from tests.engine.conftest import ModelDirectory
from tests.engine.plan_driver import PlanDriver, Tracked
from tests.engine.small_models import load_eager, log_probabilities

pytestmark = pytest.mark.e2e

PROMPT = [400, 500, 600]
OBJECT = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 6}, "on": {"type": "boolean"}, "tag": {"enum": ["a", "b"]}},
    "required": ["name", "on", "tag"],
    "additionalProperties": False,
}


def regex(text: str, prolong: bool = False) -> Grammar:
    return Grammar(GrammarKind.REGEX, text, prolong)


SCHEMA = Grammar(GrammarKind.SCHEMA, json.dumps(OBJECT))


@pytest.fixture(scope="module")
def driver(adversary: Path) -> Iterator[PlanDriver]:
    threads = torch.get_num_threads()
    yield PlanDriver(adversary)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tokenizer(adversary: Path) -> Tokenizer:
    return Tokenizer.from_file(str(adversary / "tokenizer.json"))


def write(driver: PlanDriver, tracked: Tracked, most: int) -> list[int]:
    """Tokens until the end token or so many, from where the sequence stands."""
    start = len(tracked.tokens)
    driver.prefill(tracked) if tracked.fed + 1 != start or not tracked.fed else driver.decode(tracked)
    while tracked.tokens[-1] not in driver.ready.end_tokens and len(tracked.tokens) < start + most:
        driver.decode(tracked)
    return tracked.tokens[start:]


def written(driver: PlanDriver, sampling: SamplingParameters, most: int = 60) -> list[int]:
    """What a sequence alone writes under a grammar."""
    tracked = driver.open(PROMPT, sampling)
    tokens = write(driver, tracked, most)
    driver.close(tracked)
    return tokens


@pytest.mark.parametrize(
    "sampling",
    [
        SamplingParameters(grammar=SCHEMA),
        SamplingParameters(temperature=1.5, seed=3, grammar=SCHEMA),
        SamplingParameters(temperature=2.0, top_k=5, seed=4, grammar=SCHEMA),
        SamplingParameters(temperature=2.0, top_p=0.5, seed=5, grammar=SCHEMA),
        SamplingParameters(temperature=2.0, min_p=0.5, seed=6, top_logprobs=2, grammar=SCHEMA),
    ],
)
def test_every_way_of_sampling_keeps_to_the_schema(
    driver: PlanDriver, tokenizer: Tokenizer, sampling: SamplingParameters
) -> None:
    tokens = written(driver, sampling)
    assert tokens[-1] == 2
    found = json.loads(tokenizer.decode(tokens))
    assert set(found) == {"name", "on", "tag"}
    assert isinstance(found["on"], bool)


def test_the_end_comes_exactly_where_the_text_is_complete(driver: PlanDriver, tokenizer: Tokenizer) -> None:
    tokens = written(driver, SamplingParameters(temperature=3.0, seed=1, grammar=regex("[a-c]{5}")))
    assert tokens[-1] == 2
    assert re.fullmatch("[a-c]{5}", tokenizer.decode(tokens))


def test_a_prolonged_text_ends_only_where_nothing_may_follow(driver: PlanDriver, tokenizer: Tokenizer) -> None:
    shorter = [written(driver, SamplingParameters(temperature=9.0, seed=s, grammar=regex("a{0,9}"))) for s in range(8)]
    assert min(len(tokenizer.decode(tokens)) for tokens in shorter) < 9
    for seed in range(4):
        longer = written(driver, SamplingParameters(temperature=9.0, seed=seed, grammar=regex("a{0,9}", True)))
        assert (tokenizer.decode(longer), longer[-1]) == ("a" * 9, 2)


def test_a_sequence_that_is_opened_again_goes_on_as_if_nothing_had_happened(driver: PlanDriver) -> None:
    sampling = SamplingParameters(temperature=1.5, seed=8, grammar=SCHEMA)
    whole = written(driver, sampling)
    for cut in range(1, len(whole)):
        again = driver.open(PROMPT + whole[:cut], sampling, tuple(whole[:cut]))
        assert write(driver, again, 60) == whole[cut:]
        driver.close(again)


def test_sequences_with_and_without_grammars_run_in_one_step(driver: PlanDriver) -> None:
    kinds = [SamplingParameters(temperature=1.0, seed=2, grammar=grammar) for grammar in (SCHEMA, None, regex("x+y"))]
    alone = [written(driver, kind, 5) for kind in kinds]
    together = [driver.open(PROMPT, kind) for kind in kinds]
    for tracked in together:
        driver.prefill(tracked)
    for _ in range(4):
        driver.decode(*together, fed_back=True)
    ended = [tracked.tokens[len(PROMPT) :] for tracked in together]
    assert [tokens[: len(wanted)] for tokens, wanted in zip(ended, alone, strict=True)] == alone
    for tracked in together:
        driver.close(tracked)


def test_a_plan_after_the_end_does_no_harm(driver: PlanDriver) -> None:
    tracked, other = driver.open(PROMPT, SamplingParameters(grammar=regex("ab"))), driver.open(PROMPT)
    write(driver, tracked, 9)
    for _ in range(2):
        count = len(other.tokens) - other.fed
        late = driver.chunk(tracked, 1, sample=True, fed_back=True)
        driver.take(other, driver.plan([late, driver.chunk(other, count, sample=True)]))
    driver.close(tracked)
    driver.close(other)


def test_a_grammar_that_is_none_breaks_its_own_sequence_alone(driver: PlanDriver) -> None:
    bad, good = driver.open(PROMPT, SamplingParameters(grammar=regex("(["))), driver.open(PROMPT)
    outcome = driver.plan([driver.chunk(bad, 3, sample=True), driver.chunk(good, 3, sample=True)])
    assert [sampled.sequence for sampled in outcome.sampled] == [good.id]
    (broken,) = outcome.broken
    assert broken.sequence == bad.id
    assert "([" not in broken.message
    for tracked in (bad, good):
        driver.close(tracked)


def test_tokens_that_do_not_fit_the_grammar_break_the_sequence_that_brings_them(driver: PlanDriver) -> None:
    tracked = driver.open([*PROMPT, 700], SamplingParameters(grammar=regex("[0-9]")), (700,))
    outcome = driver.plan([driver.chunk(tracked, 4, sample=True)])
    assert [type(broken) for broken in outcome.broken] == [Broken]
    driver.close(tracked)


def test_a_grammar_that_costs_too_much_breaks_its_own_sequence_alone(driver: PlanDriver) -> None:
    slow, good = driver.open(PROMPT, SamplingParameters(grammar=regex("(a{1000}){1000}"))), driver.open(PROMPT)
    outcome = driver.plan([driver.chunk(slow, 3, sample=True), driver.chunk(good, 3, sample=True)])
    assert good.id in [sampled.sequence for sampled in outcome.sampled]
    broken = outcome.broken or driver.plan([driver.chunk(slow, 1, sample=True, fed_back=True)]).broken
    assert [one.sequence for one in broken] == [slow.id]
    for tracked in (slow, good):
        driver.close(tracked)


def test_grammars_that_hold_all_threads_break_no_sequence_but_their_own(driver: PlanDriver, adversary: Path) -> None:
    parts = [{"type": "string", "pattern": f"[ab]*a[ab]{{{count}}}"} for count in range(14)]
    slow = Grammar(GrammarKind.SCHEMA, json.dumps({"allOf": parts}))
    masks = GrammarMasks(adversary, driver.ready.vocabulary, driver.ready.end_tokens)
    hogs, good = [Constraint(slow, []) for _ in range(min(8, max(2, os.cpu_count() or 1)))], Constraint(regex("ab"), [])
    bits = masks.finish(masks.begin([*hogs, good]))
    assert good.stuck == ""
    assert 0 < int.from_bytes(bits[-1].tobytes(), "little").bit_count() < 9
    assert all(hog.stuck for hog in hogs)


def test_logprobs_under_a_grammar_are_the_models_own(driver: PlanDriver, adversary: Path) -> None:
    tracked = driver.open(PROMPT, SamplingParameters(temperature=1.0, seed=1, top_logprobs=5, grammar=SCHEMA))
    reports = [driver.prefill(tracked)]
    for _ in range(6):
        reports += driver.decode(tracked)
    expected = log_probabilities(load_eager(adversary), tracked.tokens)
    for report in reports:
        row = expected[report.position - 1]
        values, tokens = row.topk(5)
        assert report.logprob is not None
        assert math.isclose(report.logprob, float(row[report.token]), abs_tol=1e-3)
        assert [token for token, _ in report.top] == tokens.tolist()
        assert [value for _, value in report.top] == pytest.approx(values.tolist(), abs=1e-3)
    driver.close(tracked)


def test_a_model_without_a_tokenizer_says_so(model_directory: ModelDirectory) -> None:
    driver = PlanDriver(model_directory("llama"))
    tracked = driver.open([1, 2], SamplingParameters(grammar=SCHEMA))
    (broken,) = driver.plan([driver.chunk(tracked, 2, sample=True)]).broken
    assert "tokenizer" in broken.message
