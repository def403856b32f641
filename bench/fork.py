"""Fork of a process with 4,096 tokens of context: the whole call through a daemon, and the core alone.

The call's peer is `proc.info` of the same process through the same connection; the core's is a plain copy of the lists
that a child must have of its own (token ids, page references). What a child costs in pages is counted twice: after the
fork, and after it has written its first token.
"""

from __future__ import annotations

import random
import time
from itertools import count

import llmos
from bench.core_load import CoreLoad, engine_ready
from bench.daemon import daemon, prompt
from bench.report import Fact, Figure, Findings, compare, percentile
from llmos.kernel.core import events as ev
from llmos.syscalls.abi.words import Pid

TOKENS = 4096
DEVICE_PAGES = 200


def run(quick: bool) -> Findings:
    """Measure the core, then the call."""
    core, call = _core(5 if quick else 20), _Call(3 if quick else 10, 1024 if quick else TOKENS)
    return Findings((*core[0], *call.figures), (*core[1], *call.facts))


def _core(rounds: int) -> tuple[list[Figure], list[Fact]]:
    load = CoreLoad(engine_ready(device_pages=DEVICE_PAGES, host_pages=0))
    parent = load.spawn(TOKENS, 8)
    load.generate(parent)
    while load.kernel.table.get(parent).computed < TOKENS:
        load.step()
    load.kernel.handle(ev.EndGeneration(parent, stopped=False), load.now)
    pids, times, forks, copies = count(1000), [], [], []
    for _ in range(rounds):
        batch = [_fork_once(load, parent, Pid(next(pids))) for _ in range(100)]
        times += batch
        forks.append(percentile(batch, 50))
        copies.append(percentile([_copy_once(load, parent) for _ in range(100)], 50))
    figure = compare("fork, core alone, p50", "us", forks, "plain copy of the child's lists", copies, "lower")
    facts = [
        Fact(f"fork, core alone, p99 of {len(times)}", percentile(times, 99), "us"),
        Fact("pages of the parent", len(load.kernel.table.get(parent).pages)),
    ]
    return [figure], facts


def _fork_once(load: CoreLoad, parent: Pid, child: Pid) -> float:
    began = time.perf_counter()
    load.kernel.handle(ev.Fork(parent, (child,)), load.now)
    seconds = time.perf_counter() - began
    load.adopt(child)
    load.kill(child)
    return 1e6 * seconds


def _copy_once(load: CoreLoad, parent: Pid) -> float:
    process = load.kernel.table.get(parent)
    began = time.perf_counter()
    copies = list(process.tokens), list(process.pages), list(process.chain)
    seconds = time.perf_counter() - began
    del copies
    return 1e6 * seconds


class _Call:
    """The call through a daemon."""

    def __init__(self, rounds: int, tokens: int) -> None:
        self._tokens = tokens
        self.figures: list[Figure] = []
        self.facts: list[Fact] = []
        self._forks: list[float] = []
        with daemon(device_pages=DEVICE_PAGES, host_memory="64MiB") as served, served.connect() as system:
            parent, seconds = self._parent(system)
            self._time_calls(parent, rounds)
            self._count_pages(system, parent)
            self._compare_prefill(seconds)

    def _parent(self, system: llmos.System) -> tuple[llmos.Process, float]:
        """A process whose whole context is computed, and how long that took."""
        parent = system.spawn()
        parent.append(prompt(random.Random(1), self._tokens - 1))
        began = time.perf_counter()
        parent.generate(max_tokens=1, ignore_eos=True).result()
        seconds = time.perf_counter() - began
        parent.generate(max_tokens=1, ignore_eos=True).result()
        parent.rewind(1)
        return parent, seconds

    def _time_calls(self, parent: llmos.Process, rounds: int) -> None:
        forks, infos = [], []
        for _ in range(rounds):
            times = [self._fork_once(parent) for _ in range(40)]
            self._forks += times
            forks.append(percentile(times, 50))
            infos.append(percentile([_info_once(parent) for _ in range(40)], 50))
        self.figures.append(compare("proc.fork through the SDK, p50", "us", forks, "proc.info", infos, "lower"))
        self.facts.append(Fact(f"proc.fork, p99 of {len(self._forks)}", percentile(self._forks, 99), "us"))

    @staticmethod
    def _fork_once(parent: llmos.Process) -> float:
        began = time.perf_counter()
        child = parent.fork()
        seconds = time.perf_counter() - began
        child.kill()
        child.wait()
        return 1e6 * seconds

    def _count_pages(self, system: llmos.System, parent: llmos.Process) -> None:
        before = _used(system)
        children = parent.fork(8)
        forked = _used(system)
        for child in children:
            child.generate(max_tokens=1, ignore_eos=True).result()
        written = _used(system)
        self.facts += [
            Fact("pages added by a fork, per child", (forked - before) / len(children)),
            Fact("pages added by its first token, per child", (written - before) / len(children)),
            Fact("pages of the parent in the daemon", parent.info().pages.device),
        ]

    def _compare_prefill(self, seconds: float) -> None:
        forks = [time / 1e6 for time in self._forks]
        name = f"computing its {self._tokens} tokens again, once"
        self.figures.append(compare("proc.fork through the SDK", "s", forks, name, [seconds] * len(forks), "lower"))


def _info_once(process: llmos.Process) -> float:
    began = time.perf_counter()
    process.info()
    return 1e6 * (time.perf_counter() - began)


def _used(system: llmos.System) -> int:
    (engine,) = system.info().engines
    if engine.device_pages_free is None or engine.device_pages_cached is None:
        raise AssertionError("an administrator is told")
    return engine.device_pages - engine.device_pages_free - engine.device_pages_cached
