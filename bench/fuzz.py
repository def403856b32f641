"""A million inputs for what reads bytes of strangers: frames, replies, handshakes, files of rules and of cases.

Each target runs in a process of its own. A crash, a hang or memory that grows ends the benchmark with an error: there
is nothing to publish then.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from bench.fuzz_targets import GUIDED, Outcome
from bench.report import Fact, Findings

TARGETS = {"frames": 500_000, "replies": 250_000, "zap": 120_000, "policy": 100_000, "cases": 30_000}
"""Inputs of each; a million in all."""

MOST_GROWN = 16 << 20
"""Bytes that the second half of a run may add: caches fill, leaks go on."""

PATIENCE_SECONDS = 600.0
"""After so long a target hangs in a way that it cannot tell itself."""


class Found(Exception):
    """An input that does harm; the text says which."""


def run(quick: bool) -> Findings:
    """All targets, one after the other."""
    outcomes = {name: _fuzz(name, count // 100 if quick else count) for name, count in TARGETS.items()}
    facts = [fact for name, outcome in outcomes.items() for fact in _facts(name, outcome)]
    return Findings((), (Fact("inputs", sum(one.inputs for one in outcomes.values())), *facts))


def _facts(name: str, outcome: Outcome) -> tuple[Fact, ...]:
    return (
        Fact(f"{name}: inputs from {outcome.engine}", outcome.inputs),
        # What did harm has ended the run before.
        Fact(f"{name}: inputs that did harm", 0),
        Fact(f"{name}: inputs a second", outcome.inputs / outcome.seconds, "1/s"),
        Fact(f"{name}: slowest input", 1000 * outcome.slowest, "ms"),
        Fact(f"{name}: memory added by the second half", outcome.grown / (1 << 20), "MiB"),
    )


def _fuzz(name: str, count: int) -> Outcome:
    command = [sys.executable, "-m", "bench.fuzz_targets", name, str(count)]
    with TemporaryDirectory(prefix="llmos-") as folder:
        try:
            # What it leaves in its own temporary folders goes with ours: it cannot tidy up after a crash.
            done = subprocess.run(
                command,
                capture_output=True,
                timeout=PATIENCE_SECONDS,
                env={**os.environ, "TMPDIR": folder},
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Found(f"{name}: not over after {error.timeout:.0f} s") from None
        hung = "".join(
            f"\nit does not return for {path.read_bytes().hex()}" for path in Path(folder).glob("*/timeout-*")
        )
    if done.returncode != 0 or not done.stdout.strip():
        raise Found(f"{name}: {done.stderr.decode('utf-8', 'replace')[-10_000:]}{hung}")
    outcome = msgspec.json.decode(done.stdout.splitlines()[-1], type=Outcome)
    if outcome.engine != GUIDED:
        sys.stderr.write(f"{name}: atheris is not installed; nothing guides these inputs to new code\n")
    if outcome.grown > MOST_GROWN:
        raise Found(f"{name}: memory grew by {outcome.grown >> 20} MiB in the second half of {count} inputs")
    return outcome
