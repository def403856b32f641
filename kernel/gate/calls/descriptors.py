"""The table of open files: numbers, and who may use what is open under them.

It does not know what a file is. Rules: a number is given once in the life of the daemon; only the principal that
opened a file may use it; a file belongs to a process or to a connection and ends with it. Who asks for too many is
told which limit that is. Belongs to the thread of the loop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import TypeVar

from llmos.kernel.core.principal import Principal
from llmos.kernel.ports.files import FilePath, OpenFile
from llmos.syscalls.abi.errors import Error, LimitExceeded, NotFound
from llmos.syscalls.abi.messages import Metric
from llmos.syscalls.abi.words import Pid

Key = TypeVar("Key", str, Pid)


@dataclass(frozen=True, slots=True)
class OpenBounds:
    """How many files a principal and a process may have open."""

    open_files: int = 256
    process_open_files: int = 64


@dataclass(slots=True, eq=False)
class Descriptor:
    """One open file. `failed` is why nothing more may be written to it: something before it could not be."""

    number: int
    file: OpenFile
    who: Principal
    pid: Pid | None
    failed: Error | None = None
    abort: Callable[[], None] = lambda: None
    """Ends the stream that is reading it."""
    forget: Callable[[], None] = lambda: None
    """Takes back what ties it to its connection."""


@dataclass(slots=True, eq=False)
class Traffic:
    """Bytes that were read and written, and files that were opened, since the daemon began."""

    read: int = 0
    written: int = 0
    opened: int = 0


@dataclass(slots=True, eq=False)
class Descriptors:
    """All open files."""

    bounds: OpenBounds
    traffic: Traffic = field(default_factory=Traffic)
    _open: dict[int, Descriptor] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _of_principal: Counter[str] = field(default_factory=Counter)
    _of_process: Counter[Pid] = field(default_factory=Counter)

    def reserve(self, who: Principal, pid: Pid | None) -> None:
        """Count a file that will be opened. Raises `LimitExceeded`."""
        if self._of_principal[who.name] >= self.bounds.open_files:
            raise LimitExceeded(
                f"{who.name} has {self.bounds.open_files} files open, the most there may be (files.open_files)",
                "close some",
            )
        if pid is not None and self._of_process[pid] >= self.bounds.process_open_files:
            raise LimitExceeded(
                f"process {pid} has {self.bounds.process_open_files} files open, the most there may be "
                "(files.process_open_files)",
                "close some",
            )
        self._of_principal[who.name] += 1
        if pid is not None:
            self._of_process[pid] += 1

    def release(self, who: Principal, pid: Pid | None) -> None:
        """Take back what was counted."""
        _count_down(self._of_principal, who.name)
        if pid is not None:
            _count_down(self._of_process, pid)

    def add(self, file: OpenFile, who: Principal, pid: Pid | None) -> Descriptor:
        """Give a file that was counted its number."""
        descriptor = Descriptor(next(self._numbers), file, who, pid)
        self._open[descriptor.number] = descriptor
        self.traffic.opened += 1
        return descriptor

    def use(self, number: int, who: Principal) -> Descriptor:
        """What is open under a number. Raises `NotFound`, also for what somebody else has opened."""
        found = self._open.get(number)
        if found is None or (found.who.name, found.who.tenant) != (who.name, who.tenant):
            raise NotFound(f"you have no file open under {number}", "fs.open gives a number")
        return found

    def remove(self, descriptor: Descriptor) -> bool:
        """Let nobody use it any more; False when somebody did this before."""
        if self._open.pop(descriptor.number, None) is None:
            return False
        self.release(descriptor.who, descriptor.pid)
        descriptor.forget()
        descriptor.abort()
        return True

    def metrics(self) -> tuple[Metric, ...]:
        """Counters and gauges, for `sys.metrics`."""
        return (
            Metric("files_open", float(len(self._open)), "files that are open"),
            Metric("files_opened_total", float(self.traffic.opened), "files that were opened"),
            Metric("file_bytes_read_total", float(self.traffic.read), "bytes read from files"),
            Metric("file_bytes_written_total", float(self.traffic.written), "bytes written to files"),
        )

    def path_of(self, number: int) -> FilePath | None:
        """The file that is open under a number."""
        found = self._open.get(number)
        return found.file.path if found is not None else None

    def of_process(self, pid: Pid) -> list[Descriptor]:
        """What a process has open."""
        if pid not in self._of_process:
            return []
        return [one for one in self._open.values() if one.pid == pid]

    def all(self) -> list[Descriptor]:
        """Everything that is open."""
        return list(self._open.values())


def _count_down(counter: Counter[Key], key: Key) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
