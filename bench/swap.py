"""Pages moved between device and host pool by a real engine process, against plain copies of the same bytes.

Two peers, taken in turns: `copy_` of as many tensors of a page's size one by one, and one `copy_` of all bytes at once.
The engine's time is from sending the plan to having its outcome; both pools have been written before, so that no
memory is taken from the machine while the clock runs.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from bench.model import model_directory
from bench.report import Fact, Findings, compare
from llmos.drivers.engine.launcher import Launcher, Process
from llmos.drivers.engine.settings import EngineSettings
from llmos.kernel.ports.engine import Direction, Move, MoveId, Outcome, Plan, Ready, Report

PAGES = 128
HOST_BYTES = 1 << 28
PATIENCE = 120.0


class EngineSilent(Exception):
    """The engine did not report in time."""


def run(quick: bool) -> Findings:
    """Measure both directions in turns with the copies."""
    out: list[float] = []
    back: list[float] = []
    inner: list[float] = []
    single: list[float] = []
    whole: list[float] = []
    with _engine() as engine:
        ready = engine.ready
        pages = min(PAGES, ready.host_pages)
        peers = _Copies(pages, ready.page_bytes)
        for index in range(4 if quick else 24):
            seconds, outcome = engine.move(Direction.DEVICE_TO_HOST, pages)
            returned, _ = engine.move(Direction.HOST_TO_DEVICE, pages)
            one_by_one, at_once = peers.one_by_one(), peers.at_once()
            if index < 2:
                continue
            size = pages * ready.page_bytes / 1e9
            out.append(size / seconds)
            back.append(size / returned)
            inner.append(size / outcome.move_seconds)
            single.append(size / one_by_one)
            whole.append(size / at_once)
    figures = (
        compare("device to host", "GB/s", out, "copies of a page's size", single, "higher"),
        compare("host to device", "GB/s", back, "copies of a page's size", single, "higher"),
        compare("device to host", "GB/s", out, "one copy of all bytes", whole, "higher"),
        compare("host to device", "GB/s", back, "one copy of all bytes", whole, "higher"),
        compare("device to host, the engine's own clock", "GB/s", inner, "copies of a page's size", single, "higher"),
    )
    median = figures[0].value.median
    facts = (
        Fact("pages in a plan", pages),
        Fact("bytes of a page", ready.page_bytes),
        Fact("tokens of a page", ready.page_tokens),
        Fact("pages a second, device to host", median * 1e9 / ready.page_bytes, "1/s"),
        Fact("one page, device to host", 1e6 * ready.page_bytes / (median * 1e9), "us"),
    )
    return Findings(figures, facts)


class _Copies:
    """Plain copies in this process, over memory as large as the engine's pools."""

    def __init__(self, pages: int, page_bytes: int) -> None:
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        self._source = torch.ones((pages, page_bytes // 4), dtype=torch.float32)
        self._target = torch.zeros_like(self._source)

    def one_by_one(self) -> float:
        began = time.perf_counter()
        for source, target in zip(self._source, self._target, strict=True):
            target.copy_(source)
        return time.perf_counter() - began

    def at_once(self) -> float:
        began = time.perf_counter()
        self._target.copy_(self._source)
        return time.perf_counter() - began


class _Engine:
    """A started engine and what it said."""

    def __init__(self, process: Process) -> None:
        self._process = process
        report = self._report()
        if not isinstance(report, Ready):
            raise AssertionError("an engine says first that it is ready")
        self.ready = report
        self._plans = self._moves = 0

    def move(self, direction: Direction, pages: int) -> tuple[float, Outcome]:
        """Copy the first pages of one pool to the other; seconds and outcome."""
        moves = tuple(Move(MoveId(self._moves + slot + 1), direction, slot, slot) for slot in range(pages))
        self._moves += pages
        self._plans += 1
        began = time.perf_counter()
        self._process.submit(Plan(self._plans, moves=moves))
        report = self._report()
        seconds = time.perf_counter() - began
        if not isinstance(report, Outcome) or len(report.moved) != pages:
            raise AssertionError("a plan of moves was not carried out")
        return seconds, report

    def _report(self) -> Report:
        poll = select.poll()
        poll.register(self._process.fileno(), select.POLLIN)
        while poll.poll(1000 * PATIENCE):
            report = self._process.receive()
            if report is not None:
                return report
        raise EngineSilent(f"no report within {PATIENCE:g} s")


@contextmanager
def _engine() -> Iterator[_Engine]:
    directory = model_directory()
    settings = EngineSettings("bench", str(directory), device_pages=PAGES, host_memory=HOST_BYTES)
    launcher = Launcher(settings)
    try:
        process = launcher.launch()
        try:
            yield _Engine(process)
        finally:
            process.kill()
    finally:
        launcher.close()
