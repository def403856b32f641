"""`python -m bench.fuzz_targets NAME COUNT`: give one part of llmos so many inputs, and print what came of it as JSON.

Inputs come from atheris, which looks for those that reach new code, or where it is not installed from mutations of good
inputs. An exception ends the run, and so does an input that takes longer than a second; both say which input it was.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import psutil

if TYPE_CHECKING:
    from bench.fuzz_surfaces import Surface

GUIDED = "atheris"
HANG_SECONDS = 1.0
LONGEST = 4096
_ALARM_SECONDS = 20
"""After so long atheris gives an input up that does not return."""

_INSTRUMENTED = ("llmos", "yaml", "casbin", "simpleeval")
"""Packages whose code inputs are to reach."""

Take = Callable[[bytes], None]


class Outcome(msgspec.Struct, frozen=True):
    """What came of a run; memory is what the second half of it added, in bytes."""

    engine: str
    inputs: int
    seconds: float
    slowest: float
    grown: int


class _Meter:
    """Counts the inputs that are taken, and prints the outcome after the last."""

    def __init__(self, take: Take, count: int, engine: str) -> None:
        self._take = take
        self._count = count
        self._engine = engine
        self._done = 0
        self._slowest = 0.0
        self._half = 0
        self._began = time.perf_counter()

    def __call__(self, data: bytes) -> None:
        taken = self._timed(data)
        self._done += 1
        self._slowest = max(self._slowest, taken)
        if self._done == self._count // 2:
            self._half = _resident()
        if self._done == self._count:
            self._end()

    def _timed(self, data: bytes) -> float:
        began, taken = time.process_time(), HANG_SECONDS
        try:
            self._take(data)
            taken = time.process_time() - began
        finally:
            if taken >= HANG_SECONDS:
                sys.stderr.write(f"the input is {data.hex()}\n")
        if taken >= HANG_SECONDS:
            raise TimeoutError(f"it takes {taken:.1f} s")
        return taken

    def _end(self) -> None:
        seconds = time.perf_counter() - self._began
        outcome = Outcome(self._engine, self._count, seconds, self._slowest, _resident() - self._half)
        sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n")
        sys.stdout.flush()
        # Fuzzers end when they like; this one has had enough.
        os._exit(0)


def main(name: str, count: int) -> None:
    """Run one target; does not return."""
    folder = Path(tempfile.mkdtemp(prefix="llmos-fuzz-"))
    if importlib.util.find_spec("atheris") is not None:
        _guided(name, count, folder)
    else:
        _unguided(_surface(name, folder), count, random.Random(name))


def _guided(name: str, count: int, folder: Path) -> None:
    import atheris

    with atheris.instrument_imports(include=list(_INSTRUMENTED)):
        surface = _surface(name, folder)
    seeds = folder / "seeds"
    seeds.mkdir()
    for number, seed in enumerate(surface.seeds):
        (seeds / str(number)).write_bytes(seed)
    options = ("verbosity=0", "print_final_stats=0", "seed=1", f"max_len={LONGEST}", f"timeout={_ALARM_SECONDS}")
    arguments = [sys.argv[0], f"-runs={2 * count}", *(f"-{option}" for option in options)]
    atheris.Setup([*arguments, f"-artifact_prefix={folder}/", str(seeds)], _Meter(surface.take, count, GUIDED))
    atheris.Fuzz()


def _surface(name: str, folder: Path) -> Surface:
    """What is fuzzed, imported no sooner: what is imported before cannot be instrumented."""
    surface: Surface = importlib.import_module("bench.fuzz_surfaces").SURFACES[name](folder)
    return surface


def _unguided(surface: Surface, count: int, source: random.Random) -> None:
    meter = _Meter(surface.take, count, "mutations")
    while True:
        meter(_mutated(source, source.choice(surface.seeds)))


def _mutated(source: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(source.randrange(1, 6)):
        place = source.randrange(len(changed) + 1)
        match source.randrange(4):
            case 0:
                changed[place:place] = source.randbytes(source.randrange(1, 9))
            case 1:
                del changed[place : place + source.randrange(1, 9)]
            case 2:
                changed[place : place + 1] = source.randbytes(1)
            case _:
                changed[place:place] = changed[: source.randrange(len(changed) + 1)]
    return bytes(changed[:LONGEST])


def _resident() -> int:
    gc.collect()
    resident: int = psutil.Process().memory_info().rss
    return resident


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
