"""What comes out of pages equals what transformers computes itself, for every shape of attention."""

from __future__ import annotations

import random

import pytest
import torch

from llmos.drivers.engine.settings import WeightFormat
from llmos.kernel.ports.engine import Sampled
from tests.engine.conftest import ModelDirectory
from tests.engine.plan_driver import PlanDriver
from tests.engine.small_models import CONFIGURATIONS, VOCABULARY, load_eager, log_probabilities

TOLERANCE = 1e-4


def prompt(seed: int, length: int) -> list[int]:
    return random.Random(seed).choices(range(6, VOCABULARY), k=length)


def assert_likeliest(sampled: Sampled, expected: torch.Tensor) -> None:
    """The token is the likeliest, and the reported log-probabilities are right."""
    best = expected.topk(len(sampled.top))
    assert expected[sampled.token] >= best.values[0] - TOLERANCE
    assert [value for _, value in sampled.top] == pytest.approx(best.values.tolist(), abs=TOLERANCE)
    assert sampled.logprob == pytest.approx(float(expected[sampled.token]), abs=TOLERANCE)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_chunked_prefill_and_decode_equal_the_models_own_probabilities(
    name: str, model_directory: ModelDirectory
) -> None:
    driver = PlanDriver(model_directory(name))
    tracked = driver.open(prompt(1, 61))
    found = [driver.prefill(tracked, sizes=(5, 1, 23, 17))]
    found += [driver.decode(tracked)[0] for _ in range(15)]
    expected = log_probabilities(load_eager(model_directory(name)), tracked.tokens)
    for sampled in found:
        assert_likeliest(sampled, expected[sampled.position - 1])


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_sequences_of_different_lengths_packed_into_one_step_equal_themselves_alone(
    name: str, model_directory: ModelDirectory
) -> None:
    driver = PlanDriver(model_directory(name))
    prompts = [prompt(seed, length) for seed, length in enumerate((1, 7, 8, 40, 90, 3))]
    sequences = [driver.open(tokens) for tokens in prompts]
    outcome = driver.plan([driver.chunk(entry, len(entry.tokens), sample=True) for entry in sequences[:3]])
    for entry in sequences[:3]:
        driver.take(entry, outcome)
    for entry in sequences[3:]:
        mixed = [driver.chunk(entry, len(entry.tokens), sample=True)]
        mixed += [driver.chunk(other, 1, sample=True) for other in sequences if other.fed and other is not entry]
        outcome = driver.plan(mixed)
        for other in sequences:
            if other.fed:
                driver.take(other, outcome)
    for _ in range(12):
        driver.decode(*sequences)
    reference = load_eager(model_directory(name))
    for tokens, entry in zip(prompts, sequences, strict=True):
        expected = log_probabilities(reference, entry.tokens)
        for position in range(len(tokens), len(entry.tokens)):
            chosen = expected[position - 1, entry.tokens[position]]
            assert chosen >= expected[position - 1].max() - TOLERANCE


def test_half_precision_weights_change_probabilities_by_next_to_nothing(model_directory: ModelDirectory) -> None:
    driver = PlanDriver(model_directory("llama"), weights=WeightFormat.FP16)
    tracked = driver.open(prompt(2, 50))
    sampled = driver.prefill(tracked)
    expected = log_probabilities(load_eager(model_directory("llama")), tracked.tokens[:-1])[-1]
    assert sampled.logprob == pytest.approx(float(expected[sampled.token]), abs=0.05)
