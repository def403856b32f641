"""Time to first token of an interactive process: alone, and while batch processes need four times the device pool.

Interactive processes arrive at random times, with a context of their own that nobody has computed; the clock runs in
the client, from asking for tokens to having the first. In every round there is a stretch of arrivals while the batch
processes are stopped, a stretch in which these run alone, and a stretch of arrivals while they run. What the batch
processes get done in the third, against the second, is the goodput that they keep; what the interactive ones take is
a share of the device that somebody must give.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import llmos
from bench.daemon import counters, daemon, prompt
from bench.report import Fact, Figure, Findings, Spread, compare, percentile

BATCH_PROCESSES = 8
BATCH_CONTEXT = 384
PAGE_TOKENS = 32
DEVICE_PAGES = 32
"""The batch contexts begin with three times as many tokens and grow until the end of a round."""

ASKED, ANSWERED = 32, 8
MEAN_GAP = 1.5
"""Seconds between arrivals while the load runs, on average (exponential)."""

_NEVER = 1 << 20


@dataclass(slots=True, eq=False)
class _Times:
    """First-token times in seconds, a list for each round, and what the batch processes generated a second."""

    idle: list[list[float]] = field(default_factory=list)
    loaded: list[list[float]] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    shared: list[float] = field(default_factory=list)
    urgent: list[float] = field(default_factory=list)
    """Tokens of the interactive processes a second, contexts and answers."""
    overcommit: list[float] = field(default_factory=list)


class _Load:
    """The batch processes: their contexts are computed, and they generate, running or stopped together."""

    def __init__(self, system: llmos.System, source: random.Random, context: int) -> None:
        self._context = context
        self.processes = [system.spawn(priority="batch") for _ in range(BATCH_PROCESSES)]
        for process in self.processes:
            process.append(prompt(source, context))
            process.generate(1, ignore_eos=True).result()
        self._generations: list[llmos.Generation] = []
        self._threads: list[threading.Thread] = []
        self._begin()

    def run(self, on: bool) -> None:
        for process in self.processes:
            process.cont() if on else process.stop()

    def generated(self) -> int:
        return sum(process.info().generated_tokens for process in self.processes)

    def context_tokens(self) -> int:
        return sum(process.info().context_tokens for process in self.processes)

    def renew(self) -> None:
        """Begin anew with the first context, before one of them outgrows the pool."""
        self._end()
        for process in self.processes:
            process.truncate(self._context)
        self._begin()

    def close(self) -> None:
        self._end()
        for process in self.processes:
            process.kill()
            process.wait()

    def _begin(self) -> None:
        self._generations = [process.generate(_NEVER, ignore_eos=True) for process in self.processes]
        self._threads = [threading.Thread(target=each.result) for each in self._generations]
        for thread in self._threads:
            thread.start()

    def _end(self) -> None:
        for generation in self._generations:
            generation.cancel()
        for thread in self._threads:
            thread.join()


def run(quick: bool) -> Findings:
    """Measure all stretches in turns."""
    source, times, arrivals = random.Random(7), _Times(), 4 if quick else 8
    shrink = 2 if quick else 1
    pages = DEVICE_PAGES // shrink
    with (
        daemon(device_pages=pages, page_tokens=PAGE_TOKENS, host_memory="256MiB") as served,
        served.connect() as system,
    ):
        for _ in range(3):
            _ask(system, source)
        with _load(system, source, BATCH_CONTEXT // shrink) as load:
            for _ in range(1 if quick else 4):
                _round(system, load, source, times, arrivals)
                times.overcommit.append(load.context_tokens() / (PAGE_TOKENS * pages))
                load.renew()
        after = counters(system)
    return Findings((*_figures(times),), (*_facts(times, after),))


@contextmanager
def _load(system: llmos.System, source: random.Random, context: int) -> Iterator[_Load]:
    load = _Load(system, source, context)
    try:
        yield load
    finally:
        load.close()


def _round(system: llmos.System, load: _Load, source: random.Random, times: _Times, arrivals: int) -> None:
    load.run(False)
    times.idle.append([_ask(system, source) for _ in range(arrivals)])
    load.run(True)
    before, began = load.generated(), time.perf_counter()
    threading.Event().wait(arrivals * MEAN_GAP / 2)
    times.alone.append((load.generated() - before) / (time.perf_counter() - began))
    before, began = load.generated(), time.perf_counter()
    times.loaded.append(_arrivals(system, source, arrivals))
    seconds = time.perf_counter() - began
    times.shared.append((load.generated() - before) / seconds)
    times.urgent.append(arrivals * (ASKED + ANSWERED) / seconds)


def _arrivals(system: llmos.System, source: random.Random, number: int) -> list[float]:
    pause, found = threading.Event(), []
    for _ in range(number):
        pause.wait(source.expovariate(1 / MEAN_GAP))
        found.append(_ask(system, source))
    return found


def _ask(system: llmos.System, source: random.Random) -> float:
    """One interactive process, from its birth to its end; the seconds that its first token took."""
    process = system.spawn(priority="interactive")
    process.append(prompt(source, ASKED))
    began = time.perf_counter()
    generation = process.generate(ANSWERED, ignore_eos=True)
    next(generation)
    seconds = time.perf_counter() - began
    generation.result()
    process.kill()
    process.wait()
    return seconds


def _figures(times: _Times) -> Sequence[Figure]:
    idle, loaded = ([percentile(stretch, 50) for stretch in kind] for kind in (times.idle, times.loaded))
    worst_idle, worst = ([percentile(stretch, 99) for stretch in kind] for kind in (times.idle, times.loaded))
    return (
        compare("time to first token under load, p50", "s", loaded, "idle, p50", idle, "lower"),
        compare("time to first token under load, p99", "s", worst, "idle, p99", worst_idle, "lower"),
        compare("batch tokens with arrivals", "tokens/s", times.shared, "without arrivals", times.alone, "higher"),
    )


def _facts(times: _Times, after: Mapping[str, float]) -> Sequence[Fact]:
    idle, loaded = ([each for stretch in kind for each in stretch] for kind in (times.idle, times.loaded))
    facts = []
    for name, found in (("idle", idle), ("under load", loaded)):
        spread = Spread.of(found)
        facts.append(Fact(f"{name}: arrivals", spread.count))
        facts += [Fact(f"{name}: p{p} over all", percentile(found, p), "s") for p in (50, 90, 99)]
        facts.append(Fact(f"{name}: longest", spread.most, "s"))
    return [
        *facts,
        Fact("p99 over all, under load / idle", percentile(loaded, 99) / percentile(idle, 99)),
        Fact("tokens of interactive processes computed under load, a second", Spread.of(times.urgent).median, "1/s"),
        Fact("batch contexts against the pool, end of the first round", times.overcommit[0], "times"),
        Fact("batch contexts against the pool, end of the last round", times.overcommit[-1], "times"),
        Fact("preemptions", after["preemptions_total"]),
        Fact("recomputed tokens", after["recomputed_tokens_total"]),
        Fact("seconds a step, on average", after["step_seconds_total"] / after["steps_total"], "s"),
    ]
