"""`llmosctl top`: engines and processes, refreshed in place. What is shown is made by pure functions of two samples."""

from __future__ import annotations

import os
import select
import shutil
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import click

from llmos.apps.llmosctl import units
from llmos.apps.llmosctl.connection import connected, emit
from llmos.apps.llmosctl.options import Command, Options, pass_options
from llmos.apps.llmosctl.process_table import NARROW, process_table
from llmos.apps.llmosctl.tables import cut
from llmos.syscalls.abi.messages import EngineInfo, Metric, SystemInfo
from llmos.syscalls.abi.words import PriorityClass, ProcessInfo, State
from llmos.syscalls.sdk.blocking import System

_STATES = (State.RUNNING, State.READY, State.WAITING, State.STOPPED, State.NEW, State.EXITED)
_CLASSES = tuple(PriorityClass)
_BAR = 20


@dataclass(frozen=True, slots=True)
class Sample:
    """Everything at one moment; `at` is seconds since the epoch."""

    at: float
    system: SystemInfo
    processes: tuple[ProcessInfo, ...]
    metrics: tuple[Metric, ...]


@click.command(cls=Command)
@click.option("--interval", type=click.FloatRange(min=0.1), default=1.0, show_default=True, help="Seconds.")
@click.option("--once", is_flag=True, help="Print one picture and end, as without a terminal.")
@pass_options
def top(options: Options, interval: float, once: bool) -> None:
    """Watch engines and processes; q or Ctrl-C ends."""
    with connected(options) as system:
        if once or options.json or not sys.stdout.isatty():
            sample = take_sample(system)
            data = {"system": sample.system, "processes": sample.processes, "metrics": sample.metrics}
            emit(options, data, picture(sample, None, NARROW))
            return
        with suppress(KeyboardInterrupt):
            _watch(system, interval)


def take_sample(system: System) -> Sample:
    """Ask the daemon for everything."""
    return Sample(time.time(), system.info(), tuple(system.processes()), system.metrics())


def picture(now: Sample, before: Sample | None, width: int) -> list[str]:
    """The lines to show; rates need the sample before."""
    system = now.system
    lines = [
        f"llmosd {system.version}, up {units.age(now.at - system.started)}, {system.scheduler}"
        + (", draining" if system.draining else ""),
        _states(now.processes),
        _tokens(now, before),
        _moves(now, before),
        *(line for engine in system.engines for line in _engine(engine)),
        "",
        *process_table(sorted(now.processes, key=_importance), now.at, width),
    ]
    return [cut(line, width) for line in lines]


def rate(name: str, now: Sample, before: Sample) -> float:
    """How fast a counter rises, per second; 0 for one that began anew."""
    seconds = now.at - before.at
    return max(_total(name, now) - _total(name, before), 0.0) / seconds if seconds > 0 else 0.0


def _total(name: str, sample: Sample) -> float:
    return sum(metric.value for metric in sample.metrics if metric.name == name)


def _tokens(now: Sample, before: Sample | None) -> str:
    if before is None:
        decoded, prefilled = _total("decode_tokens_total", now), _total("prefill_tokens_total", now)
        return f"tokens so far: {decoded:.0f} decoded, {prefilled:.0f} prefilled"
    decoded, prefilled = rate("decode_tokens_total", now, before), rate("prefill_tokens_total", now, before)
    busy = 100 * rate("step_seconds_total", now, before)
    return f"tokens/s: {decoded:.1f} decoded, {prefilled:.1f} prefilled; engines busy {busy:.0f} %"


def _moves(now: Sample, before: Sample | None) -> str:
    names = ("pages_moved_out_total", "pages_written_behind_total", "pages_moved_in_total", "preemptions_total")
    out, behind, into, preempted = (_total(name, now) if before is None else rate(name, now, before) for name in names)
    when = "so far" if before is None else "/s"
    return (
        f"pages {when}: {out:.0f} out, {behind:.0f} written behind, {into:.0f} in; preemptions {when}: {preempted:.0f}"
    )


def _states(processes: tuple[ProcessInfo, ...]) -> str:
    counts = ((state, sum(process.state is state for process in processes)) for state in _STATES)
    parts = ", ".join(f"{number} {state.value}" for state, number in counts if number)
    return f"{len(processes)} processes" + (f": {parts}" if parts else "")


def _importance(process: ProcessInfo) -> tuple[int, int, int]:
    return _STATES.index(process.state), _CLASSES.index(process.priority), process.pid


def _engine(engine: EngineInfo) -> list[str]:
    restarts = f", {engine.restarts} restarts" if engine.restarts else ""
    lines = [f"{engine.model} on {engine.device} ({engine.weights}): {engine.state}{restarts}"]
    if engine.device_pages:
        lines.append(_pool("device", engine.device_pages, engine.device_pages_free, engine.device_pages_cached))
    if engine.host_pages:
        lines.append(_pool("host", engine.host_pages, engine.host_pages_free, engine.host_pages_cached))
    return lines


def _pool(name: str, pages: int, free: int | None, cached: int | None) -> str:
    if free is None or cached is None:
        return f"{name:<6} {pages} pages"
    used = max(pages - free - cached, 0)
    filled = round(_BAR * used / pages)
    with_cached = max(round(_BAR * (used + cached) / pages), filled)
    bar = "#" * filled + "+" * (with_cached - filled) + "." * (_BAR - with_cached)
    return f"  {name:6} [{bar}] {used} used, {cached} cached, {free} free of {pages} pages"


@contextmanager
def _single_keys() -> Iterator[None]:
    """Keys are read as they are pressed and not shown."""
    if not sys.stdin.isatty():
        yield
        return
    saved = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)


def _watch(system: System, interval: float) -> None:
    from rich.live import Live
    from rich.text import Text

    before: Sample | None = None
    with _single_keys(), Live(screen=True, auto_refresh=False) as live:
        while True:
            now = take_sample(system)
            columns, rows = shutil.get_terminal_size((NARROW, 24))
            lines = picture(now, before, columns)[: rows - 1]
            live.update(Text("\n".join(lines), no_wrap=True), refresh=True)
            before = now
            if _quit_pressed(interval):
                return


def _quit_pressed(interval: float) -> bool:
    """Wait until the next picture is due; whether q was pressed meanwhile."""
    until = time.monotonic() + interval
    keys = [sys.stdin.fileno()] if sys.stdin.isatty() else []
    while (left := until - time.monotonic()) > 0:
        if select.select(keys, [], [], left)[0] and os.read(keys[0], 64) in (b"q", b"Q", b""):
            return True
    return False
