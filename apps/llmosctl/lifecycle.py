"""Commands about the daemon as a whole: up, down, drain, info, stats, version."""

from __future__ import annotations

import importlib.metadata
import sys
import time

import click

from llmos.apps.llmosctl import units
from llmos.apps.llmosctl.connection import connected, emit, endpoint_of, is_local, tell
from llmos.apps.llmosctl.failures import ExitCode, Failed
from llmos.apps.llmosctl.launch import start_daemon, watched
from llmos.apps.llmosctl.options import Command, Options, pass_options
from llmos.apps.llmosctl.tables import Column, pairs, table
from llmos.syscalls.abi.encoders import EncoderInfo
from llmos.syscalls.abi.messages import EngineInfo, SystemInfo
from llmos.syscalls.abi.words import PROTOCOL_VERSION


@click.command(cls=Command)
@click.option("--timeout", type=click.FloatRange(min=0), default=300.0, show_default=True, help="Seconds to wait.")
@pass_options
def up(options: Options, timeout: float) -> None:
    """Start the daemon in the background; returns when it is ready."""
    running = _running_daemon(options)
    if running is not None:
        tell(f"llmosd runs already, as process {running.os_pid}")
        emit(options, running, ())
        return
    progress = _Progress(sys.stderr.isatty())
    try:
        os_pid = start_daemon(options, timeout, progress.show)
    finally:
        progress.clear()
    tell(f"llmosd runs, as process {os_pid}; its log is {options.log}")
    if options.json:
        with connected(options) as system:
            emit(options, system.info(), ())


@click.command(cls=Command)
@click.option("--timeout", type=click.FloatRange(min=0), default=60.0, show_default=True, help="Seconds to wait.")
@pass_options
def down(options: Options, timeout: float) -> None:
    """End the daemon; returns when it has ended."""
    running = _running_daemon(options)
    if running is None:
        tell("no daemon runs")
        emit(options, {"ended": None}, ())
        return
    if running.os_pid is None:
        with connected(options) as system:
            system.shutdown()
        return
    with watched(running.os_pid) as has_ended:
        with connected(options) as system:
            system.shutdown()
        if is_local(endpoint_of(options)) and not has_ended(timeout):
            raise Failed(
                f"llmosd, process {running.os_pid}, has not ended after {timeout:g} s",
                f"see {options.log}",
                ExitCode.TIMED_OUT,
            )
    tell("llmosd has ended")
    emit(options, {"ended": running.os_pid}, ())


@click.command(cls=Command)
@click.option("--off", is_flag=True, help="Take it back.")
@click.option("--timeout", type=click.FloatRange(min=0), help="Seconds to wait for what runs.")
@pass_options
def drain(options: Options, off: bool, timeout: float | None) -> None:
    """Take nothing new, and wait until nothing runs any more."""
    with connected(options) as system:
        system.drain(off=off, timeout=timeout)
    emit(options, {"draining": not off}, ())
    tell("new work is taken again" if off else "nothing runs, and nothing new is taken")


@click.command(cls=Command)
@pass_options
def info(options: Options) -> None:
    """Describe the daemon and its engines."""
    with connected(options) as system:
        described = system.info()
    emit(options, described, system_lines(described, time.time()))


@click.command(cls=Command)
@pass_options
def stats(options: Options) -> None:
    """Print all counters and gauges."""
    with connected(options) as system:
        metrics = system.metrics()
    columns = (Column("NAME"), Column("VALUE", right=True), Column("MEANS"))
    rows = [(metric.name, f"{metric.value:.12g}", metric.help) for metric in metrics]
    emit(options, metrics, table(columns, rows, None))


@click.command(cls=Command)
@pass_options
def version(options: Options) -> None:
    """Print the versions of llmos and of the protocol."""
    number = importlib.metadata.version("llmos")
    emit(options, {"version": number, "protocol": PROTOCOL_VERSION}, [f"llmos {number}, protocol {PROTOCOL_VERSION}"])


def system_lines(system: SystemInfo, now: float) -> list[str]:
    """The daemon and its engines for people."""
    lines = pairs(
        [
            ("version", f"{system.version}, protocol {system.protocol}"),
            ("home", system.home),
            ("daemon", f"process {system.os_pid or '-'}, for {units.age(now - system.started)}"),
            ("you are", system.principal),
            ("scheduler", system.scheduler + (", draining" if system.draining else "")),
            ("processes", str(system.processes)),
        ]
    )
    for engine in system.engines:
        lines += [f"engine {engine.model} on {engine.device}: {engine.state}", *_engine_lines(engine)]
    for encoder in system.encoders:
        lines += [f"encoder {encoder.model}: {encoder.state}", *_encoder_lines(encoder)]
    return lines


def _encoder_lines(encoder: EncoderInfo) -> list[str]:
    rows = [("detail", encoder.detail)] if encoder.detail else []
    if encoder.dimensions:
        rows += [
            ("vectors", f"{encoder.dimensions} numbers in {encoder.dtype}, on {encoder.device}"),
            ("bounds", f"text {encoder.max_tokens}, batch {encoder.batch_tokens} tokens"),
        ]
    if encoder.restarts is not None:
        rows.append(("process", f"{encoder.os_pid or '-'}, restarted {encoder.restarts} times"))
        rows.append(("waiting", f"{encoder.waiting_texts} texts"))
    return pairs(rows, indent="  ")


def _engine_lines(engine: EngineInfo) -> list[str]:
    rows = [
        ("numbers", f"{engine.dtype}, weights {engine.weights}"),
        ("pages", f"of {engine.page_tokens} tokens, {units.size(engine.page_bytes)}"),
        ("device", _pool(engine.device_pages, engine.device_pages_free, engine.device_pages_cached, engine)),
        ("host", _pool(engine.host_pages, engine.host_pages_free, engine.host_pages_cached, engine)),
        ("bounds", f"context {engine.context_limit}, batch {engine.max_batch}, step {engine.step_tokens} tokens"),
        ("process", f"{engine.os_pid or '-'}, restarted {engine.restarts} times"),
    ]
    if engine.detail:
        rows.append(("detail", engine.detail))
    return pairs(rows, indent="  ")


def _pool(pages: int, free: int | None, cached: int | None, engine: EngineInfo) -> str:
    if free is None or cached is None:
        return f"{pages} pages ({units.size(pages * engine.page_bytes)})"
    return f"{pages} pages ({units.size(pages * engine.page_bytes)}), {free} free, {cached} cached"


def _running_daemon(options: Options) -> SystemInfo | None:
    try:
        with connected(options) as system:
            return system.info()
    except Failed as error:
        if error.code is ExitCode.NO_DAEMON:
            return None
        raise


class _Progress:
    """One line on a terminal that says what the start is at; one plain line where there is no terminal."""

    def __init__(self, terminal: bool) -> None:
        self._terminal = terminal
        self._last: str | None = None

    def show(self, doing: str, elapsed: float) -> None:
        """Show what is done now."""
        text = "starting llmosd" + (f": {doing}" if doing else "")
        if self._terminal:
            click.echo(f"\r\033[K{text} ({elapsed:.0f} s)", nl=False, err=True)
        elif text != self._last:
            tell(text)
        self._last = text

    def clear(self) -> None:
        """Make room for what comes next."""
        if self._terminal:
            click.echo("\r\033[K", nl=False, err=True)
