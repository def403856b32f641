"""The sampler: its filters are those of transformers, its draws a function of logits, seed and position."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from llmos.drivers.engine.sampling import choose, uniform
from llmos.kernel.ports.engine import SamplingParameters

VOCABULARY = 700


def logits_of(seed: int, spread: float = 3.0) -> torch.Tensor:
    return torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(seed)) * spread


def draws(logits: torch.Tensor, parameters: SamplingParameters, count: int) -> list[int]:
    """Tokens drawn for many positions from the same logits."""
    chosen = choose(logits.expand(count, -1), [parameters] * count, range(count))
    return [choice.token for choice in chosen if choice is not None]


def reference(logits: torch.Tensor, parameters: SamplingParameters) -> torch.Tensor:
    """The distribution that transformers would draw from."""
    warpers = LogitsProcessorList([TemperatureLogitsWarper(parameters.temperature)])
    if parameters.top_k is not None:
        warpers.append(TopKLogitsWarper(parameters.top_k))
    if parameters.top_p is not None:
        warpers.append(TopPLogitsWarper(parameters.top_p))
    if parameters.min_p is not None:
        warpers.append(MinPLogitsWarper(parameters.min_p))
    none = torch.LongTensor(1, 0)
    scores: torch.Tensor = warpers(none, logits.double().unsqueeze(0))
    return scores[0].softmax(-1)


SAMPLING = st.builds(
    SamplingParameters,
    temperature=st.sampled_from([0.3, 0.8, 1.0, 2.0]),
    top_k=st.none() | st.sampled_from([1, 3, 40, VOCABULARY, 5000]),
    top_p=st.none() | st.sampled_from([0.05, 0.5, 0.9, 0.99]),
    min_p=st.none() | st.sampled_from([0.01, 0.1, 0.5]),
    seed=st.integers(-(2**63), 2**64),
)


@given(st.integers(0, 50), SAMPLING)
def test_what_is_drawn_is_what_transformers_would_leave_possible(seed: int, parameters: SamplingParameters) -> None:
    logits = logits_of(seed)
    expected = reference(logits, parameters)
    for token in draws(logits, parameters, 20):
        assert expected[token] > 0


@pytest.mark.parametrize(
    "parameters",
    [
        SamplingParameters(temperature=1.0),
        SamplingParameters(temperature=0.7, top_k=20),
        SamplingParameters(temperature=1.5, top_p=0.8, seed=5),
        SamplingParameters(temperature=1.5, top_k=50, top_p=0.9, min_p=0.05, seed=6),
    ],
)
def test_frequencies_follow_the_distribution(parameters: SamplingParameters) -> None:
    logits = logits_of(3)
    expected = reference(logits, parameters)
    counts = Counter(draws(logits, parameters, 4000))
    for token in expected.topk(5).indices.tolist():
        assert counts[token] / 4000 == pytest.approx(float(expected[token]), abs=0.04)


@given(st.integers(), st.integers(0, 1 << 40))
def test_the_uniform_number_is_a_function_of_seed_and_position(seed: int, position: int) -> None:
    assert 0.0 <= uniform(seed, position) < 1.0
    assert uniform(seed, position) == uniform(seed, position) != uniform(seed, position + 1)


def test_temperature_zero_takes_the_likeliest_and_ties_go_to_the_smallest_id() -> None:
    logits = torch.zeros(2, 9)
    logits[0, 4] = 1.0
    chosen = choose(logits, [SamplingParameters(), SamplingParameters()], [0, 0])
    assert [choice.token for choice in chosen if choice is not None] == [4, 0]


@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
def test_rows_that_are_no_numbers_are_told_apart(poison: float) -> None:
    logits = torch.randn(3, 9)
    logits[1, 3] = poison
    chosen = choose(
        logits, [SamplingParameters(), SamplingParameters(temperature=1.0), SamplingParameters()], [1, 1, 1]
    )
    assert [choice is None for choice in chosen] == [False, True, False]


def test_minus_infinity_only_rules_a_token_out() -> None:
    logits = torch.full((1, 9), -torch.inf)
    logits[0, 7] = -3.0
    (choice,) = choose(logits, [SamplingParameters(temperature=5.0, top_p=0.9)], [1])
    assert choice is not None
    assert choice.token == 7


def test_log_probabilities_are_those_of_the_model_whatever_the_sampling() -> None:
    logits = logits_of(1)
    expected = logits.double().log_softmax(-1)
    parameters = SamplingParameters(temperature=0.5, top_k=2, top_logprobs=3, banned=(int(expected.argmax()),))
    (choice,) = choose(logits.unsqueeze(0), [parameters], [4])
    assert choice is not None
    assert choice.logprob == pytest.approx(float(expected[choice.token]))
    assert [token for token, _ in choice.top] == expected.topk(3).indices.tolist()
    assert choice.token not in parameters.banned
