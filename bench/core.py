"""Time per plan of the core alone: deciding who runs, which pages they get, and taking in what came of it.

The engine answers at once and its time is not counted. The peer is the least that the kernel's process pays for such a
step whoever decides: encoding the plan for the engine and decoding its outcome.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from bench.core_load import CoreLoad, engine_ready
from bench.report import Fact, Figure, Findings, compare, percentile
from llmos.kernel.ports.engine import Outcome

BATCH = 256
CONTEXT = 24
ARRIVALS = 16
"""Interactive processes that come in every second plan; each wants one token: its slot is taken and given back."""
LIMIT_MILLISECONDS = 1.0
AGING_SECONDS = 10.0
_PORT = "MessagePack of plan and outcome"

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Outcome)


@dataclass(slots=True, eq=False)
class _Case:
    """One number of processes; times in milliseconds."""

    name: str
    load: CoreLoad
    arrivals: int = 0
    rounds: list[float] = field(default_factory=list)
    port: list[float] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)


def run(quick: bool) -> Findings:
    """Measure all cases in turns."""
    sizes = (100, 1_000, 10_000) if quick else (100, 1_000, 10_000, 100_000)
    began = time.perf_counter()
    cases = [_Case(f"{size:,} ready", _load(size)) for size in sizes]
    cases.append(_Case(f"10,000 ready, {ARRIVALS // 2} preempted a plan", _load(10_000), ARRIVALS))
    made = time.perf_counter() - began
    for case in cases:
        _steps(case, 40)
    for _ in range(3 if quick else 5):
        for case in cases:
            _round(case, 40)
    facts = [fact for case in cases for fact in _facts(case)]
    facts += [_aging(case) for case in cases if not case.arrivals]
    facts.append(Fact("building all cases", made, "s"))
    return Findings((*_figures(cases),), tuple(facts))


def _load(processes: int) -> CoreLoad:
    """Processes that differ in length, so that some finish in every step; the pool holds a batch and some more."""
    load = CoreLoad(engine_ready(device_pages=8 * BATCH, host_pages=64 * BATCH, max_batch=BATCH))
    for index in range(processes):
        load.generate(load.spawn(CONTEXT, 32 + index % 64))
    return load


def _round(case: _Case, steps: int) -> None:
    times = _steps(case, steps)
    case.steps += times
    case.rounds.append(percentile(times, 50))
    case.port.append(percentile([_port_crossing(case.load) for _ in range(steps)], 50))


def _steps(case: _Case, steps: int) -> list[float]:
    gc.collect()
    times = []
    for index in range(steps):
        case.load.arrive(case.arrivals if index % 2 else 0)
        times.append(1000 * case.load.step())
    return times


def _port_crossing(load: CoreLoad) -> float:
    if load.last is None:
        raise AssertionError("nothing was planned yet")
    plan, outcome = load.last
    data = _ENCODER.encode(outcome)
    began = time.perf_counter()
    _ENCODER.encode(plan)
    _DECODER.decode(data)
    return 1000 * (time.perf_counter() - began)


def _figures(cases: Sequence[_Case]) -> list[Figure]:
    figures = []
    for case in cases:
        limit = [LIMIT_MILLISECONDS] * len(case.rounds)
        figures.append(
            compare(case.name, "ms/plan", case.rounds, f"target of {LIMIT_MILLISECONDS:g} ms", limit, "lower")
        )
        figures.append(compare(case.name, "ms/plan", case.rounds, _PORT, case.port, "lower"))
    base = cases[1]
    figures += [
        compare(case.name, "ms/plan", case.rounds, base.name, base.rounds, "lower")
        for case in cases
        if case not in (cases[0], base)
    ]
    return figures


def _facts(case: _Case) -> list[Fact]:
    plan = case.load.last[0] if case.load.last is not None else None
    engine = next(iter(case.load.kernel.engines.values()))
    return [
        Fact(f"{case.name}: plans a second", 1000 / percentile(case.steps, 50), "1/s"),
        Fact(f"{case.name}: p99", percentile(case.steps, 99), "ms/plan"),
        Fact(f"{case.name}: longest of {len(case.steps)}", max(case.steps), "ms/plan"),
        Fact(f"{case.name}: chunks in the last plan", len(plan.chunks) if plan is not None else 0),
        Fact(f"{case.name}: preemptions", engine.counters.preemptions),
    ]


def _aging(case: _Case) -> Fact:
    """The one plan in which everybody who waits has waited long enough to gain a class."""
    case.load.now += AGING_SECONDS
    return Fact(f"{case.name}: the plan in which all of them age", 1000 * case.load.step(), "ms")
