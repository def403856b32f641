"""The same work with contexts of one, two and four times the device pool.

Eight batch processes work in turns, as agents do: each appends what a tool said, generates, and begins again, and keeps
its whole context all the time. Three daemons that differ in `engine.device_pages` alone do it one after the other in
every round; the time of the one in which everything fits is the peer of the other two.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field

import llmos
from bench.daemon import counters, daemon, prompt
from bench.report import Fact, Figure, Findings, compare

AGENTS = 8
TURNS = 4
READ, WRITTEN = 64, 16
"""Tokens appended and generated in a turn; four turns are 320 tokens, ten pages of 32."""

PAGE_TOKENS = 32

HEADROOM = AGENTS
"""Pages beyond the contexts that the pool has where everything fits: the next page of everybody."""

TIMES = (1, 2, 4)
_COUNTED = (
    "recomputed_tokens_total",
    "pages_moved_out_total",
    "pages_written_behind_total",
    "pages_moved_in_total",
    "preemptions_total",
    "steps_total",
)


@dataclass(slots=True, eq=False)
class _Case:
    """One size of the pool; tokens per second and counters, one entry a round."""

    times: int
    pages: int
    system: llmos.System
    rates: list[float] = field(default_factory=list)
    counted: dict[str, list[float]] = field(default_factory=dict)


def pool_pages(times: int, turns: int) -> int:
    """Device pages such that the contexts are so many times the pool."""
    return (AGENTS * turns * (READ + WRITTEN) // PAGE_TOKENS + HEADROOM) // times


def run(quick: bool) -> Findings:
    """Do the work in every pool, in turns."""
    turns = 2 if quick else TURNS
    with ExitStack() as stack:
        cases = [_case(stack, times, turns) for times in (TIMES[::2] if quick else TIMES)]
        for index in range(1 if quick else 3):
            for case in cases:
                _round(case, random.Random(index), turns)
    return Findings((*_figures(cases),), tuple(fact for case in cases for fact in _facts(case)))


def _case(stack: ExitStack, times: int, turns: int) -> _Case:
    pages = pool_pages(times, turns)
    served = stack.enter_context(daemon(device_pages=pages, page_tokens=PAGE_TOKENS, host_memory="256MiB"))
    return _Case(times, pages, stack.enter_context(served.connect()))


def _round(case: _Case, source: random.Random, turns: int) -> None:
    readings = [[prompt(source, READ) for _ in range(turns)] for _ in range(AGENTS)]
    agents = [case.system.spawn(priority="batch") for _ in range(AGENTS)]
    before = counters(case.system)
    began = time.perf_counter()
    with ThreadPoolExecutor(AGENTS) as pool:
        list(pool.map(_work, agents, readings))
    case.rates.append(AGENTS * turns * (READ + WRITTEN) / (time.perf_counter() - began))
    _count(case, before)
    for agent in agents:
        agent.kill()
        agent.wait()


def _work(agent: llmos.Process, readings: Sequence[list[int]]) -> None:
    for reading in readings:
        agent.append(reading)
        agent.generate(WRITTEN, ignore_eos=True).result()


def _count(case: _Case, before: Mapping[str, float]) -> None:
    after = counters(case.system)
    for name in _COUNTED:
        case.counted.setdefault(name, []).append(after[name] - before[name])


def _figures(cases: Sequence[_Case]) -> list[Figure]:
    base = cases[0]
    return [
        compare(f"{case.times}x the pool", "tokens/s", case.rates, "everything fits", base.rates, "higher")
        for case in cases[1:]
    ]


def _facts(case: _Case) -> list[Fact]:
    name = f"{case.times}x"
    rates = case.rates
    facts = [
        Fact(f"{name}: device pages", case.pages),
        Fact(f"{name}: tokens read and written a second, median", sorted(rates)[len(rates) // 2], "1/s"),
    ]
    return facts + [
        Fact(f"{name}: {counter.removesuffix('_total').replace('_', ' ')}, a round", max(values))
        for counter, values in case.counted.items()
    ]
