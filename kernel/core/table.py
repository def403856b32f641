"""The process table: by pid, with the tree. Reaping and orphans are decided here; states are not."""

from __future__ import annotations

from collections.abc import Iterator

from llmos.kernel.core.process import Process
from llmos.syscalls.abi.errors import NoSuchProcess
from llmos.syscalls.abi.words import INIT, Pid, State

KEPT_EXITED = 256
"""Exited processes that are kept for `wait`, per principal; the oldest are reaped beyond it."""


class ProcessTable:
    """All processes that are not reaped. Pid 1 is the root of the tree and has no entry."""

    def __init__(self) -> None:
        self._by_pid: dict[Pid, Process] = {}
        self._exited: dict[str, dict[Pid, None]] = {}
        self._of: dict[str, int] = {}

    def __iter__(self) -> Iterator[Process]:
        return iter(self._by_pid.values())

    def __len__(self) -> int:
        return len(self._by_pid)

    def __contains__(self, pid: Pid) -> bool:
        return pid in self._by_pid

    def find(self, pid: Pid) -> Process | None:
        """The process, living or exited, or None."""
        return self._by_pid.get(pid)

    def get(self, pid: Pid) -> Process:
        """The process, living or exited. Raises `NoSuchProcess`."""
        process = self._by_pid.get(pid)
        if process is None:
            raise NoSuchProcess(f"no process {pid}", "llmosctl ps -a lists the processes")
        return process

    def living(self, pid: Pid) -> Process:
        """The process, which must not have exited. Raises `NoSuchProcess`."""
        process = self.get(pid)
        if process.exit is not None:
            raise NoSuchProcess(f"process {pid} has exited: {process.exit.reason}", f"llmosctl wait {pid} reaps it")
        return process

    def add(self, process: Process) -> None:
        """A new process; its parent is alive or pid 1."""
        if process.pid in self._by_pid or process.pid <= INIT:
            raise AssertionError(f"pid {process.pid} is used already")
        self._by_pid[process.pid] = process
        self._of[process.principal] = self.count(process.principal) + 1
        if process.parent != INIT:
            self._by_pid[process.parent].children.add(process.pid)

    def bury(self, process: Process) -> list[Pid]:
        """The process has exited: its children go to pid 1, and the oldest exited ones of its principal beyond the
        bound are reaped. What the kernel made for a scoring is gone at once: nobody waits for it.
        """
        for pid in process.children:
            self._by_pid[pid].parent = INIT
        process.children.clear()
        self._leave_parent(process)
        if process.scorer is not None:
            self._remove(process)
            return []
        kept = self._exited.setdefault(process.principal, {})
        kept[process.pid] = None
        surplus = list(kept)[: max(0, len(kept) - KEPT_EXITED)]
        for pid in surplus:
            self.reap(self._by_pid[pid])
        return surplus

    def reap(self, process: Process) -> None:
        """Forget an exited process."""
        if process.state is not State.EXITED:
            raise AssertionError(f"reaping process {process.pid}, which is {process.state}")
        kept = self._exited[process.principal]
        del kept[process.pid]
        if not kept:
            del self._exited[process.principal]
        self._remove(process)

    def count(self, principal: str) -> int:
        """How many processes a principal has, exited ones included."""
        return self._of.get(principal, 0)

    def _remove(self, process: Process) -> None:
        del self._by_pid[process.pid]
        self._of[process.principal] -= 1
        if not self._of[process.principal]:
            del self._of[process.principal]

    def _leave_parent(self, process: Process) -> None:
        parent = self._by_pid.get(process.parent)
        if parent is not None:
            parent.children.discard(process.pid)
