"""The default model, as it is: its greedy text through pages is that of transformers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from llmos.drivers.engine.settings import DeviceKind, WeightFormat
from llmos.kernel.ports.engine import SamplingParameters
from tests.engine.plan_driver import PlanDriver, Tracked
from tests.engine.small_models import load_eager, log_probabilities

pytestmark = pytest.mark.e2e

TIE = 1e-4
GREEDY = SamplingParameters()
LENGTHS = (5, 31, 32, 33, 64, 120, 300)


@pytest.fixture(scope="module")
def reference(default_directory: Path) -> Iterator[PreTrainedModel]:
    threads = torch.get_num_threads()
    yield load_eager(default_directory)
    torch.set_num_threads(threads)


def prompt(length: int) -> list[int]:
    return random.Random(length).choices(range(100, 40_000), k=length)


def assert_greedy(reference: PreTrainedModel, tokens: list[int], given: int) -> None:
    """Every token after the given ones is the likeliest, ties aside."""
    expected = log_probabilities(reference, tokens)
    for position in range(given, len(tokens)):
        best = expected[position - 1].max()
        assert expected[position - 1, tokens[position]] >= best - TIE, f"position {position}"


def test_greedy_text_in_exact_weights_is_that_of_transformers(
    default_directory: Path, reference: PreTrainedModel
) -> None:
    driver = PlanDriver(default_directory, page_tokens=32, device_pages=60, host_memory=1 << 21)
    sequences = [driver.open(prompt(length), GREEDY) for length in LENGTHS]
    for tracked in sequences:
        sizes = [64] * ((len(tracked.tokens) - 1) // 64)
        driver.prefill(tracked, sizes)
    for _ in range(15):
        driver.decode(*sequences)
    for length, tracked in zip(LENGTHS, sequences, strict=True):
        assert_greedy(reference, tracked.tokens, length)


def test_half_precision_weights_lose_next_to_nothing(default_directory: Path, reference: PreTrainedModel) -> None:
    driver = PlanDriver(
        default_directory, weights=WeightFormat.FP16, page_tokens=32, device_pages=20, host_memory=1 << 21
    )
    tracked: Tracked = driver.open(prompt(100), SamplingParameters(top_logprobs=200))
    sampled = driver.prefill(tracked)
    expected = log_probabilities(reference, tracked.tokens[:-1])[-1]
    divergence = sum(float(expected[token].exp() * (expected[token] - value)) for token, value in sampled.top)
    assert abs(divergence) < 1e-3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_the_same_plans_run_on_a_gpu(default_directory: Path) -> None:
    on_cpu = PlanDriver(default_directory, page_tokens=16, device_pages=60, host_memory=1 << 21)
    on_gpu = PlanDriver(default_directory, page_tokens=16, device_pages=60, host_memory=1 << 21, device=DeviceKind.CUDA)
    assert on_gpu.ready.lookahead == 1
    for length in LENGTHS:
        assert on_gpu.generate(prompt(length), 8, GREEDY) == on_cpu.generate(prompt(length), 8, GREEDY)
