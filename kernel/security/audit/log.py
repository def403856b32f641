"""The audit log, as the event loop of the daemon uses it.

It does not know what is noted. Rules:

- `note` never waits and never fails; what was noted leaves for the disk in groups, one at a time, each synced before
  the next: soon when something waits for it or asks for haste, else after a moment.
- `commit` and `flush` call back when everything so far is on the disk.
- While the disk takes nothing, `failing` says why, everything is kept (folded, so that it stays small) and tried again
  every second; whoever serves calls refuses them meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread

from llmos.kernel.security.audit.group import Group
from llmos.kernel.security.audit.record import Entry
from llmos.kernel.security.audit.signing import Signer
from llmos.kernel.security.audit.writer import Writer
from llmos.syscalls.abi.errors import DeviceError, Error

SEGMENT_BYTES = 16 << 20
GROUP_SECONDS = 0.05
RETRY_SECONDS = 1.0

Done = Callable[[Error | None], None]


@dataclass(slots=True, eq=False)
class _Batch:
    """A group and who waits for it."""

    group: Group = field(default_factory=Group)
    waiting: list[Done] = field(default_factory=list)


class AuditLog:
    """Of one folder. All methods belong to the thread of the event loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        writer: Writer,
        signer: Signer,
        group_seconds: float = GROUP_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.failing = ""
        """Why nothing can be written now; empty when it can."""
        self._loop = loop
        self._writer = writer
        self._signer = signer
        self._group_seconds = group_seconds
        self._clock = clock
        self._batch = _Batch()
        self._noted = self._batch.group.noted
        self._under_way = False
        self._hurried = False
        self._timer: asyncio.TimerHandle | None = None
        self._closing = Event()
        self._orders: SimpleQueue[_Batch | None] = SimpleQueue()
        self._thread = Thread(target=self._write_all, name="audit", daemon=True)
        self._thread.start()

    @classmethod
    def open(
        cls, loop: asyncio.AbstractEventLoop, folder: Path, keys: Path, segment_bytes: int = SEGMENT_BYTES
    ) -> AuditLog:
        """Open the log in a folder, or begin one; its keys are in `keys`. Raises `InvalidArgument` if it is damaged."""
        signer = Signer.open(keys)
        return cls(loop, Writer(folder, signer, segment_bytes, time.time()), signer)

    def digest(self, contents: bytes) -> str:
        """A digest under which contents can be in the log."""
        return self._signer.digest(contents)

    def note(self, entry: Entry, at_once: bool = False) -> None:
        """Note an entry, or count the same object once more."""
        noted = self._noted.get(entry)
        if noted is not None:
            noted.count += 1
        else:
            self._batch.group.add(entry, self._clock())
        if self._under_way:
            return
        if at_once:
            self._hurry()
        elif self._timer is None:
            self._timer = self._loop.call_later(self._group_seconds, self._leave)

    def commit(self, entry: Entry, done: Done) -> None:
        """Note an entry and call back when it is on the disk, or with the error why it is not yet."""
        self.note(entry, at_once=True)
        self.flush(done)

    def flush(self, done: Done) -> None:
        """Call back when everything so far is on the disk."""
        if self._noted or self._under_way:
            self._batch.waiting.append(done)
            self._hurry()
        else:
            self._loop.call_soon(done, None)

    def close(self) -> None:
        """Write everything and end the thread; nothing may be noted any more. May be called twice."""
        if self._timer is not None:
            self._timer.cancel()
        if self._closing.is_set():
            return
        self._closing.set()
        self._orders.put(self._batch)
        self._orders.put(None)
        self._thread.join()
        self._writer.close()

    # --- in the loop

    def _hurry(self) -> None:
        if not self._hurried and not self._under_way:
            self._hurried = True
            self._loop.call_soon(self._leave)

    def _leave(self) -> None:
        """Give what there is to the writer, unless it has something: then that waits for its return."""
        self._hurried = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._under_way or self._closing.is_set() or not (self._noted or self._batch.waiting):
            return
        self._under_way = True
        batch, self._batch = self._batch, _Batch()
        self._noted = self._batch.group.noted
        self._orders.put(batch)

    def _returned(self, batch: _Batch) -> None:
        self._under_way, self.failing = False, ""
        for done in batch.waiting:
            done(None)
        if self._batch.waiting:
            self._hurry()
        elif self._noted:
            self._timer = self._loop.call_later(self._group_seconds, self._leave)

    def _failed(self, batch: _Batch, reason: str) -> None:
        """Whoever waits is told; what they did is in the log as soon as it can be written."""
        self.failing = reason
        waiting, batch.waiting = [*batch.waiting, *self._batch.waiting], []
        self._batch.waiting = []
        for done in waiting:
            done(
                DeviceError(
                    f"the audit log cannot be written: {reason}", "make room, then look at llmosctl audit verify"
                )
            )

    # --- in the thread

    def _write_all(self) -> None:
        while (batch := self._orders.get()) is not None:
            self._write(batch)

    def _write(self, batch: _Batch) -> None:
        appended = False
        while True:
            try:
                now = self._clock()
                if not appended and batch.group.noted:
                    self._writer.append(batch.group.noted.values(), now)
                appended = True
                self._writer.sign(now)
            except OSError as error:
                self._tell(self._failed, batch, error.strerror or str(error))
                if self._closing.wait(RETRY_SECONDS):
                    return
            else:
                self._tell(self._returned, batch)
                return

    def _tell(self, callback: Callable[..., None], *arguments: object) -> None:
        if not self._closing.is_set():
            self._loop.call_soon_threadsafe(callback, *arguments)
