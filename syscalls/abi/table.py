"""The one table of system calls: name, request, reply, stream event, and what the membrane checks.

The gate dispatches by it, the SDK encodes by it, the documentation's reference is made from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from llmos.syscalls.abi import messages as m
from llmos.syscalls.abi.words import ProcessInfo, Record


class Subject(StrEnum):
    """What the object of a call is; the gate makes the object's name from it.

    `PROCESS` is `proc:/OWNER/PID` of the request's pid, `OWN` is `proc:/CALLER/*`, `SYSTEM` is `sys:/`.
    """

    PROCESS = "process"
    OWN = "own"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Call:
    """One system call. The action that policies name is the call's name."""

    name: str
    subject: Subject
    request: type[Record]
    reply: type[Record]
    event: type[Record] | None = None
    """What a stream sends before its reply; None for a call that only replies."""
    summary: str = ""

    @property
    def group(self) -> str:
        """The part before the dot."""
        return self.name.partition(".")[0]


CALLS: tuple[Call, ...] = (
    Call("proc.spawn", Subject.OWN, m.Spawn, m.Spawned, None, "make a process"),
    Call("proc.fork", Subject.PROCESS, m.Fork, m.Forked, None, "make copy-on-write children"),
    Call("proc.signal", Subject.PROCESS, m.SendSignal, m.Done, None, "send a signal"),
    Call("proc.wait", Subject.PROCESS, m.Wait, m.ExitStatus, None, "wait for the exit of a process and reap it"),
    Call("proc.info", Subject.PROCESS, m.OnProcess, ProcessInfo, None, "describe a process"),
    Call("proc.list", Subject.OWN, m.ListProcesses, m.Processes, None, "list the processes one may see"),
    Call("proc.renice", Subject.PROCESS, m.Renice, ProcessInfo, None, "change priority class or weight"),
    Call("proc.limits", Subject.PROCESS, m.SetLimits, ProcessInfo, None, "change limits"),
    Call("proc.swap_out", Subject.PROCESS, m.SwapOut, m.Swapped, None, "move pages off the device"),
    Call("proc.swap_in", Subject.PROCESS, m.OnProcess, m.Swapped, None, "bring pages back to the device"),
    Call("proc.why", Subject.PROCESS, m.OnProcess, m.Why, None, "say what a process waits for, and its history"),
    Call("ctx.append", Subject.PROCESS, m.Append, m.Appended, None, "append text, chat messages or tokens"),
    Call("ctx.read", Subject.PROCESS, m.OnProcess, m.Context, None, "read what the model sees"),
    Call("ctx.truncate", Subject.PROCESS, m.Truncate, m.Appended, None, "keep the first tokens"),
    Call("ctx.rewind", Subject.PROCESS, m.Rewind, m.Appended, None, "drop the last tokens"),
    Call("ctx.advise", Subject.PROCESS, m.Advise, m.Done, None, "say whether the pages will be needed soon"),
    Call("gen.generate", Subject.PROCESS, m.Generate, m.Generated, m.Chunk, "generate tokens"),
    Call("gen.cancel", Subject.PROCESS, m.OnProcess, m.Done, None, "end the running generation of a process"),
    Call("sys.info", Subject.SYSTEM, m.Nothing, m.SystemInfo, None, "describe the daemon and its engines"),
    Call("sys.metrics", Subject.SYSTEM, m.Nothing, m.Metrics, None, "read counters and gauges"),
    Call("sys.drain", Subject.SYSTEM, m.Drain, m.Done, None, "finish what runs and take nothing new"),
    Call("sys.shutdown", Subject.SYSTEM, m.Nothing, m.Done, None, "end the daemon"),
)

BY_NAME: dict[str, Call] = {call.name: call for call in CALLS}
