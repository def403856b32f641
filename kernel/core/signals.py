"""Signals and ends: stop, continue, terminate, kill, the user signal, and the limit of wall time."""

from __future__ import annotations

from typing import assert_never

from llmos.kernel.core.effects import Effect, Signalled
from llmos.kernel.core.events import SendSignal
from llmos.kernel.core.life import bury, continue_, leave
from llmos.kernel.core.outcomes import limit_text
from llmos.kernel.core.process import Exit, Process
from llmos.kernel.core.state import KernelState
from llmos.syscalls.abi.words import FinishReason, Signal, State

TERMINATED, KILLED, OUT_OF_TIME = 128 + 15, 128 + 9, 128 + 24
"""Exit codes, as shells show them for SIGTERM, SIGKILL and SIGXCPU."""


def send(kernel: KernelState, event: SendSignal, now: float) -> list[Effect]:
    """Deliver a signal to a living process."""
    process = kernel.table.living(event.pid)
    process.note(now, f"signal {event.signal} from {event.by}")
    match event.signal:
        case Signal.STOP:
            return _stop(kernel, process, event.by, now)
        case Signal.CONT:
            return _continue(kernel, process, event.by, now)
        case Signal.TERM:
            return _end(kernel, process, Exit(TERMINATED, f"terminated by {event.by}"), now)
        case Signal.KILL:
            return _end(kernel, process, Exit(KILLED, f"killed by {event.by}"), now)
        case Signal.USR1:
            return _user(process)
        case _:
            assert_never(event.signal)


def wall_time(kernel: KernelState, process: Process, now: float) -> list[Effect]:
    """The limit of wall time bites, if it is still the same."""
    limit = process.limits.wall_seconds
    if limit is None or process.created + limit > now:
        return []
    why = limit_text(process, "wall_seconds", limit)
    return bury(kernel.engine_of(process), kernel.table, process, Exit(OUT_OF_TIME, why), now, FinishReason.LIMIT)


def _stop(kernel: KernelState, process: Process, by: str, now: float) -> list[Effect]:
    if process.state is not State.STOPPED:
        leave(kernel.engine_of(process), process, State.STOPPED, now, f"stopped by {by}")
    return []


def _continue(kernel: KernelState, process: Process, by: str, now: float) -> list[Effect]:
    if process.state is State.STOPPED:
        process.preempted = process.run is not None and process.run.began
        continue_(kernel.engine_of(process), process, now, f"continued by {by}")
    return []


def _end(kernel: KernelState, process: Process, exit: Exit, now: float) -> list[Effect]:
    return bury(kernel.engine_of(process), kernel.table, process, exit, now, FinishReason.KILLED)


def _user(process: Process) -> list[Effect]:
    if process.generation is not None:
        return [Signalled(process.pid)]
    process.pending_signals += 1
    return []
