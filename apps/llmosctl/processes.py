"""Commands on processes that exist: ps, show, why, logs, signals, renice, limit, swap, fork, wait."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Sequence

import click

from llmos.apps.llmosctl import units
from llmos.apps.llmosctl.connection import connected, emit, tell
from llmos.apps.llmosctl.failures import complain
from llmos.apps.llmosctl.options import Command, Group, Options, pass_options
from llmos.apps.llmosctl.process_table import LEGEND, NARROW, context_lines, details, limits_text, process_table
from llmos.apps.llmosctl.tables import pairs
from llmos.syscalls.abi.errors import Error
from llmos.syscalls.abi.messages import HistoryEntry, Why
from llmos.syscalls.abi.words import Limits, PriorityClass, Signal, Tier
from llmos.syscalls.sdk.blocking import Process

PID = click.IntRange(min=1)
CLASSES = click.Choice([priority.value for priority in PriorityClass], case_sensitive=False)
_SIGNALS = click.Choice([signal.value for signal in Signal], case_sensitive=False)
_LIMITS = Limits.__struct_fields__

one_process = click.argument("pid", type=PID)
many_processes = click.argument("pids", metavar="PID...", type=PID, nargs=-1, required=True)


@click.command(cls=Command, epilog=LEGEND)
@click.option("-a", "--all", "exited", is_flag=True, help="Also those that have exited and are not reaped.")
@click.option("-w", "--wide", is_flag=True, help="Cut nothing.")
@pass_options
def ps(options: Options, exited: bool, wide: bool) -> None:
    """List processes."""
    with connected(options) as system:
        found = system.processes(all=exited)
    width = shutil.get_terminal_size((NARROW, 24)).columns if sys.stdout.isatty() else NARROW
    emit(options, found, process_table(found, time.time(), None if wide else width))


@click.command(cls=Command)
@one_process
@click.option("--context", is_flag=True, help="Show what the model sees instead, and where each part of it comes from.")
@pass_options
def show(options: Options, pid: int, context: bool) -> None:
    """Show everything about a process."""
    with connected(options) as system:
        if context:
            seen = system.process(pid).read()
            emit(options, seen, context_lines(seen))
        else:
            found = system.process(pid).info()
            emit(options, found, details(found, time.time()))


@click.command(cls=Command)
@one_process
@pass_options
def why(options: Options, pid: int) -> None:
    """Say what a process waits for, by which rule, and what happened to it last."""
    with connected(options) as system:
        answer = system.process(pid).why()
    emit(options, answer, why_lines(answer))


@click.command(cls=Command)
@one_process
@pass_options
def logs(options: Options, pid: int) -> None:
    """Print the history of a process."""
    with connected(options) as system:
        history = system.process(pid).why().history
    emit(options, history, history_lines(history))


@click.command(cls=Command)
@many_processes
@pass_options
def stop(options: Options, pids: tuple[int, ...]) -> None:
    """Stop processes until `cont`."""
    _each(options, pids, Process.stop)


@click.command(cls=Command)
@many_processes
@pass_options
def cont(options: Options, pids: tuple[int, ...]) -> None:
    """Let stopped processes go on."""
    _each(options, pids, Process.cont)


@click.command(cls=Command)
@click.option("-s", "--signal", "name", type=_SIGNALS, default="term", show_default=True, help="Which signal.")
@many_processes
@pass_options
def kill(options: Options, name: str, pids: tuple[int, ...]) -> None:
    """Send processes a signal; without -s they are asked to end."""
    _each(options, pids, lambda process: process.signal(name))


@click.command(cls=Command)
@one_process
@click.option("--priority", type=CLASSES, help="Priority class.")
@click.option("--weight", type=click.IntRange(1, 10_000), help="Share inside its class.")
@pass_options
def renice(options: Options, pid: int, priority: str | None, weight: int | None) -> None:
    """Change the priority class or the weight of a process."""
    if priority is None and weight is None:
        raise click.UsageError("say what to change: --priority, --weight or both")
    with connected(options) as system:
        changed = system.process(pid).renice(priority=priority, weight=weight)
    emit(options, changed, [f"{pid}: {changed.priority.value}, weight {changed.weight}"])


@click.command(cls=Command)
@one_process
@click.argument("changes", metavar="KEY=VALUE...", nargs=-1)
@pass_options
def limit(options: Options, pid: int, changes: tuple[str, ...]) -> None:
    """Change limits of a process, or print them.

    Keys: context_tokens, generated_tokens, wall_seconds, children, tool_calls. The value none takes a limit away.
    """
    wanted = parse_limits(changes)
    with connected(options) as system:
        process = system.process(pid)
        now = process.limit(**wanted) if wanted else process.info()
    emit(options, now, [f"{pid}: {limits_text(now.limits)}"])


@click.group(cls=Group)
def swap() -> None:
    """Move the pages of a process off the device, or back."""


@swap.command("out", cls=Command)
@one_process
@click.option("--tier", type=click.Choice([Tier.HOST.value, Tier.DISK.value]), default="host", show_default=True)
@pass_options
def swap_out(options: Options, pid: int, tier: str) -> None:
    """Move pages off the device."""
    with connected(options) as system:
        moved = system.process(pid).swap_out(tier=tier)
    emit(options, {"pid": pid, "pages": moved}, [f"{pid}: {moved} pages out"])


@swap.command("in", cls=Command)
@one_process
@pass_options
def swap_in(options: Options, pid: int) -> None:
    """Bring pages back to the device."""
    with connected(options) as system:
        moved = system.process(pid).swap_in()
    emit(options, {"pid": pid, "pages": moved}, [f"{pid}: {moved} pages in"])


@click.command(cls=Command)
@one_process
@click.option("-n", "count", type=click.IntRange(1, 1024), default=1, show_default=True, help="How many children.")
@pass_options
def fork(options: Options, pid: int, count: int) -> None:
    """Make copies of a process that share its context; prints their pids."""
    with connected(options) as system:
        children = [child.pid for child in system.process(pid).fork(count)]
    emit(options, {"pid": pid, "children": children}, map(str, children))


@click.command(cls=Command)
@one_process
@click.option("--timeout", type=click.FloatRange(min=0), help="Seconds to wait; then the exit code is 124.")
@pass_options
def wait(options: Options, pid: int, timeout: float | None) -> None:
    """Wait for the end of a process and reap it; prints its exit code and the reason."""
    with connected(options) as system:
        status = system.process(pid).wait(timeout=timeout)
    emit(options, status, [f"{status.code} {status.reason}"])


COMMANDS = (ps, show, why, logs, stop, cont, kill, renice, limit, swap, fork, wait)


def parse_limits(changes: Sequence[str]) -> dict[str, float | None]:
    """Limits by name from KEY=VALUE; None for `none`. Raises `UsageError`."""
    wanted: dict[str, float | None] = {}
    for change in changes:
        key, _, value = change.partition("=")
        if key not in _LIMITS:
            raise click.UsageError(f"{change!r} is not KEY=VALUE with a KEY of {', '.join(_LIMITS)}")
        wanted[key] = _bound(key, value)
    return wanted


def _bound(key: str, value: str) -> float | None:
    if value == "none":
        return None
    try:
        return float(value) if key == "wall_seconds" else int(value)
    except ValueError:
        raise click.UsageError(f"{value!r} is no value for {key}: give a number, or none") from None


def why_lines(answer: Why) -> list[str]:
    """What a process waits for, for people."""
    rows = [
        ("state", answer.state.value),
        ("waits for", answer.waiting_for or "nothing"),
        ("by the rule", answer.rule or "-"),
        ("before it", f"{answer.before_it} processes"),
    ]
    return [*pairs(rows), *history_lines(answer.history)]


def history_lines(history: Sequence[HistoryEntry]) -> list[str]:
    """A history, a line for each thing that happened."""
    return [f"{units.moment(entry.at)}  {entry.what}" for entry in history]


def _each(options: Options, pids: Sequence[int], act: Callable[[Process], None]) -> None:
    """Do something with each process; the errors are told, and the first one's code is the exit code."""
    codes = []
    failed = {}
    with connected(options) as system:
        for pid in pids:
            try:
                act(system.process(pid))
            except Error as error:
                tell(f"process {pid}:")
                codes.append(complain(error))
                failed[pid] = error.failure()
    emit(options, [{"pid": pid, "error": failed.get(pid)} for pid in pids], ())
    if codes:
        raise click.exceptions.Exit(codes[0])
