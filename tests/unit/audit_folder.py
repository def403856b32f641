"""A folder with an audit log, and an event loop of the test's own thread to write it from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from llmos.kernel.security.audit.chain import decode_line, segments
from llmos.kernel.security.audit.log import GROUP_SECONDS, SEGMENT_BYTES, AuditLog
from llmos.kernel.security.audit.record import AuditRecord, Entry, Kind
from llmos.syscalls.abi.errors import Error


@dataclass(slots=True)
class Clock:
    """Says what it is told to say."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True)
class AuditFolder:
    """Opens logs in one folder, one after the other; `close` closes them all."""

    root: Path
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    clock: Clock = field(default_factory=Clock)
    _opened: list[AuditLog] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.root / "audit"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    def open(self, segment_bytes: int = SEGMENT_BYTES, group_seconds: float = GROUP_SECONDS) -> AuditLog:
        log = AuditLog.open(self.loop, self.folder, self.keys, segment_bytes, group_seconds, self.clock)
        self._opened.append(log)
        return log

    def commit(self, log: AuditLog, entry: Entry) -> Error | None:
        """Commit an entry and wait for the answer."""
        return self.answer(lambda done: log.commit(entry, done))

    def flush(self, log: AuditLog) -> Error | None:
        """Wait until everything is on the disk, or an answer why it is not."""
        return self.answer(log.flush)

    def answer(self, ask: Callable[[Callable[[Error | None], None]], None]) -> Error | None:
        answered: asyncio.Future[Error | None] = self.loop.create_future()
        ask(answered.set_result)
        return self.loop.run_until_complete(answered)

    def write(self, *groups: int, segment_bytes: int = SEGMENT_BYTES) -> None:
        """Write a log with this many different records in each of its groups, and close it."""
        log = self.open(segment_bytes)
        for group, size in enumerate(groups):
            for i in range(size):
                log.note(call(f"proc:/alice/{group}.{i}"))
            self.flush(log)
        log.close()

    def records(self) -> list[AuditRecord]:
        return [decode_line(line).record for path in segments(self.folder) for line in path.read_bytes().splitlines()]

    def objects(self) -> list[str]:
        """The objects of calls, in the order of the log."""
        return [record.object for record in self.records() if record.kind is Kind.CALL]

    def close(self) -> None:
        for log in self._opened:
            log.close()
        self.loop.close()


def call(object: str = "proc:/alice/1", principal: str = "alice", action: str = "proc.info") -> Entry:
    """An entry of a call."""
    return Entry(Kind.CALL, principal=principal, role="developer", tenant="default", action=action, object=object)
