"""Tokens of context computed per second, against the prefill of transformers' `generate` in eager fp32.

The engine's runner in this process, with exact and with fp16 weights; contexts of one batch have the same length, so
that the peer pads nothing. The engine computes them in steps of its default budget, as under a kernel that must be able
to let somebody else in between, and in addition in steps of 512 tokens.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.daemon import prompt
from bench.eager import EagerTransformers
from bench.inside import InsideEngine, Timed
from bench.model import model_directory
from bench.report import Fact, Figure, Findings, compare
from llmos.drivers.engine.settings import WeightFormat

SHAPES = ((1, 512), (8, 128), (32, 32))
LARGE_STEP = 512
PAGES = 32 * 17
_PEER = "transformers, eager fp32"

Tokens = list[list[int]]
Way = Callable[[Tokens], Timed]


@dataclass(slots=True, eq=False)
class _Case:
    """Tokens per second for one shape, by way of computing; one entry a round."""

    sequences: int
    length: int
    rates: dict[str, list[float]] = field(default_factory=dict)


def run(quick: bool) -> Findings:
    """Measure all shapes in turns."""
    source, directory = random.Random(6), model_directory()
    peer = EagerTransformers(directory)
    exact = InsideEngine(directory, WeightFormat.EXACT, PAGES)
    fp16 = InsideEngine(directory, WeightFormat.FP16, PAGES)
    ways: dict[str, Way] = {
        _PEER: lambda prompts: peer.generate(prompts, 1),
        "exact": lambda prompts: exact.generate(prompts, 1),
        "fp16": lambda prompts: fp16.generate(prompts, 1),
        f"fp16, steps of {LARGE_STEP}": lambda prompts: fp16.generate(prompts, 1, LARGE_STEP),
    }
    cases = [_Case(sequences, length // 4 if quick else length) for sequences, length in SHAPES]
    for way in ways.values():
        way([prompt(source, 64)])
    for _ in range(1 if quick else 4):
        for case in cases:
            _round(case, ways, [prompt(source, case.length) for _ in range(case.sequences)])
    facts = (Fact("default step", exact.ready.step_tokens, "tokens"),)
    return Findings(tuple(figure for case in cases for figure in _figures(case)), facts)


def _round(case: _Case, ways: dict[str, Way], prompts: Tokens) -> None:
    for name, way in ways.items():
        case.rates.setdefault(name, []).append(case.sequences * case.length / way(prompts).prefill)


def _figures(case: _Case) -> list[Figure]:
    peers = case.rates[_PEER]
    return [
        compare(f"{case.sequences} x {case.length} tokens, {name}", "tokens/s", rates, _PEER, peers, "higher")
        for name, rates in case.rates.items()
        if name != _PEER
    ]
