"""What a proof of the membrane is good for: which events it covers, and on which process.

The last check before the core: a handler that is wrong about whose call it performs ends the daemon instead of doing
it. It knows the names of calls and the core's events, and no policies.
"""

from __future__ import annotations

from llmos.kernel.core import events as ev
from llmos.kernel.core.authority import Authorized, NotAuthorized
from llmos.kernel.core.state import KernelState
from llmos.syscalls.abi.words import INIT

ACTIONS: dict[type[ev.CallEvent], frozenset[str]] = {
    ev.Spawn: frozenset({"proc.spawn"}),
    ev.Fork: frozenset({"proc.fork"}),
    ev.SendSignal: frozenset({"proc.signal", "proc.spawn"}),
    ev.Reap: frozenset({"proc.wait", "proc.spawn"}),
    ev.Renice: frozenset({"proc.renice"}),
    ev.SetLimits: frozenset({"proc.limits"}),
    ev.SwapOut: frozenset({"proc.swap_out", "ctx.advise"}),
    ev.SwapIn: frozenset({"proc.swap_in"}),
    ev.Append: frozenset({"ctx.append", "proc.spawn"}),
    ev.Truncate: frozenset({"ctx.truncate", "ctx.rewind"}),
    ev.Prefetch: frozenset({"ctx.advise"}),
    ev.Generate: frozenset({"gen.generate"}),
    ev.EndGeneration: frozenset({"gen.cancel", "gen.generate"}),
    ev.Score: frozenset({"gen.score"}),
    ev.EndScoring: frozenset({"gen.score"}),
    ev.Throttle: frozenset({"gen.generate"}),
    ev.Await: frozenset({"ipc.receive", "ctx.append"}),
    ev.Resume: frozenset({"ipc.receive", "ctx.append"}),
    ev.CallTool: frozenset({"ctx.append"}),
    ev.SetDraining: frozenset({"sys.drain"}),
}
"""Which calls may tell which events. Who may append to a process may let it wait for a tool. A process that cannot take
its system message is taken away again, hence `proc.spawn` on more than itself.
"""


def check(by: Authorized, event: ev.CallEvent, kernel: KernelState) -> None:
    """Raise `NotAuthorized` unless the proof covers the event."""
    if not isinstance(by, Authorized) or by.action not in ACTIONS[type(event)] or not _reaches(by, event, kernel):
        raise NotAuthorized(f"{type(event).__name__} with the proof {by!r}")


def check_reading(by: Authorized, pid: int, *actions: str) -> None:
    """Raise `NotAuthorized` unless the proof is for one of these actions on this process."""
    if not isinstance(by, Authorized) or by.action not in actions or by.pid != pid:
        raise NotAuthorized(f"reading process {pid} with the proof {by!r}")


def _reaches(by: Authorized, event: ev.CallEvent, kernel: KernelState) -> bool:
    match event:
        case ev.SetDraining():
            return True
        case ev.Spawn():
            own = (event.principal, event.tenant) == (by.principal.name, by.principal.tenant)
            return own and event.pid > INIT
        case _ if by.pid is not None:
            return event.pid == by.pid
        case _:
            process = kernel.table.find(event.pid)
            return process is not None and process.principal == by.principal.name
