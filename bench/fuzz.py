"""A million inputs for what reads bytes of strangers: frames, replies, handshakes, files of rules and of cases.

Each target runs in a process of its own. A crash, a hang or memory that grows ends the benchmark with an error: there
is nothing to publish then.
"""

from __future__ import annotations

import subprocess
import sys

import msgspec

from bench.fuzz_targets import Outcome
from bench.report import Fact, Findings

TARGETS = {"frames": 600_000, "replies": 270_000, "zap": 80_000, "policy": 30_000, "cases": 20_000}
"""Inputs of each; a million in all."""

MOST_GROWN = 16 << 20
"""Bytes that the second half of a run may add: caches fill, leaks go on."""


class Found(Exception):
    """An input that does harm; the text says which."""


def run(quick: bool) -> Findings:
    """All targets, one after the other."""
    facts: list[Fact] = []
    for name, count in TARGETS.items():
        outcome = _fuzz(name, count // 100 if quick else count)
        facts += [
            Fact(f"{name}: inputs from {outcome.engine}", outcome.inputs),
            Fact(f"{name}: inputs a second", outcome.inputs / outcome.seconds, "1/s"),
            Fact(f"{name}: slowest input", 1000 * outcome.slowest, "ms"),
            Fact(f"{name}: memory added by the second half", outcome.grown / (1 << 20), "MiB"),
        ]
    return Findings((), (Fact("inputs that did harm", 0), *facts))


def _fuzz(name: str, count: int) -> Outcome:
    done = subprocess.run(
        [sys.executable, "-m", "bench.fuzz_targets", name, str(count)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0 or not done.stdout.strip():
        raise Found(f"{name}: {done.stderr[-4000:]}")
    outcome = msgspec.json.decode(done.stdout.splitlines()[-1], type=Outcome)
    if outcome.grown > MOST_GROWN:
        raise Found(f"{name}: memory grew by {outcome.grown >> 20} MiB in the second half of {count} inputs")
    return outcome
