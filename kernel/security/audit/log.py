"""The audit log, as the event loop of the daemon uses it.

It does not know what is noted. Rules:

- `note` never waits and never fails; what was noted leaves for the disk in groups, one at a time, each synced before
  the next: soon when something waits for it or asks for haste, else after a moment.
- `commit` and `flush` call back when everything so far is on the disk.
- While the disk takes nothing, `failing` says why, everything is kept (folded, so that it stays small) and tried again
  every second, in the same order; whoever serves calls refuses them meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import Self

from llmos.kernel.security.audit.group import Group
from llmos.kernel.security.audit.record import Entry
from llmos.kernel.security.audit.signing import Head, Signer
from llmos.kernel.security.audit.writer import Progress, Writer
from llmos.syscalls.abi.errors import DeviceError, Error

SEGMENT_BYTES = 16 << 20
GROUP_SECONDS = 0.05
RETRY_SECONDS = 1.0

Done = Callable[[Error | None], None]

_log = logging.getLogger("llmos.audit")


@dataclass(slots=True, eq=False)
class _Batch:
    """A group and who waits for it. The waiting belong to the loop, the group to the thread once it has left."""

    group: Group = field(default_factory=Group)
    waiting: list[Done] = field(default_factory=list)

    def settle(self, error: Error | None) -> None:
        """Tell everybody who waits, once."""
        waiting, self.waiting = self.waiting, []
        for done in waiting:
            done(error)


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
        self.progress: Progress = writer.progress
        """What is on the disk, as far as the loop was told."""
        self._loop = loop
        self._writer = writer
        self._signer = signer
        self._group_seconds = group_seconds
        self._clock = clock
        self._batch = _Batch()
        self._noted = self._batch.group.noted
        self._under_way: _Batch | None = None
        self._hurried = False
        self._timer: asyncio.TimerHandle | None = None
        self._closing = Event()
        self._unwritten = ""
        self._watchers: list[Callable[[], None]] = []
        self._orders: SimpleQueue[_Batch | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    @classmethod
    def open(
        cls,
        loop: asyncio.AbstractEventLoop,
        folder: Path,
        keys: Path,
        segment_bytes: int = SEGMENT_BYTES,
        group_seconds: float = GROUP_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """Open the log in a folder, or begin one; its keys are in `keys`.

        Raises `InvalidArgument` if it is damaged, `DeviceError` if it cannot be written.
        """
        try:
            signer = Signer.open(keys)
            writer = Writer(folder, signer, segment_bytes, clock())
        except OSError as error:
            raise _unwritable(f"{folder}: {_reason(error)}") from None
        return cls(loop, writer, signer, group_seconds, clock)

    @property
    def head(self) -> Head:
        """The newest head on the disk: remember its number and hash elsewhere to find a log that was set back."""
        return self.progress.head

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
        if at_once:
            self._hurry()
        elif self._timer is None and self._under_way is None:
            self._timer = self._loop.call_later(self._group_seconds, self._leave)

    def commit(self, entry: Entry, done: Done) -> None:
        """Note an entry and call back when it is on the disk, or with the error why it is not yet.

        It stays noted after an error, and is written when the disk takes it.
        """
        self.note(entry, at_once=True)
        self.flush(done)

    def flush(self, done: Done) -> None:
        """Call back when everything so far is on the disk."""
        if self._noted:
            self._batch.waiting.append(done)
            self._hurry()
        elif self._under_way is not None:
            self._under_way.waiting.append(done)
        else:
            self._loop.call_soon(done, None)

    def when_written(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back once, when something more is on the disk. Returns how to take that back."""
        self._watchers.append(callback)

        def forget() -> None:
            if callback in self._watchers:
                self._watchers.remove(callback)

        return forget

    def close(self) -> None:
        """Write everything and end the thread; nothing may be noted any more. May be called twice."""
        if self._closing.is_set():
            return
        self._stop_timer()
        self._closing.set()
        self._orders.put(self._batch)
        self._orders.put(None)
        self._thread.join()
        self._writer.close()
        error = _unwritable(self._unwritten) if self._unwritten else None
        self.progress, self.failing = self._writer.progress, self._unwritten
        for batch in (self._under_way, self._batch):
            if batch is not None:
                batch.settle(error)

    # --- in the loop

    def _hurry(self) -> None:
        """Leave in this turn of the loop, or as soon as the writer has returned."""
        if not self._hurried:
            self._hurried = True
            if self._under_way is None:
                self._loop.call_soon(self._leave)

    def _leave(self) -> None:
        """Give what there is to the writer, unless it has something: then that waits for its return."""
        if self._under_way is not None or self._closing.is_set():
            return
        self._hurried = False
        self._stop_timer()
        if not self._noted:
            return
        batch, self._batch = self._batch, _Batch()
        self._under_way, self._noted = batch, self._batch.group.noted
        self._orders.put(batch)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _returned(self, batch: _Batch, progress: Progress) -> None:
        if self._closing.is_set():
            return
        self._under_way, self.failing, self.progress = None, "", progress
        if self._hurried:
            self._loop.call_soon(self._leave)
        elif self._noted:
            self._timer = self._loop.call_later(self._group_seconds, self._leave)
        batch.settle(None)
        watchers, self._watchers = self._watchers, []
        for callback in watchers:
            callback()

    def _failed(self, batch: _Batch, reason: str) -> None:
        """Whoever waits is told; what they did is in the log as soon as it can be written."""
        if self._closing.is_set():
            return
        self.failing = reason
        for each in (batch, self._batch):
            each.settle(_unwritable(reason))

    def _stopped(self, bug: BaseException) -> None:
        """The thread ended by a bug, so nothing is written any more: that ends the daemon."""
        self.failing = self._unwritten
        raise bug

    # --- in the thread

    def _run(self) -> None:
        try:
            self._write_all()
        except BaseException as bug:
            self._unwritten = f"its thread ended: {bug!r}"
            self._tell(self._stopped, bug)
            raise

    def _write_all(self) -> None:
        while (batch := self._orders.get()) is not None:
            lost = len(batch.group.noted) if self._unwritten else self._write(batch)
            if lost:
                _log.error("%d audit records are lost: %s", lost, self._unwritten)

    def _write(self, batch: _Batch) -> int:
        """Write a group, however long it takes; at the end of the daemon it is tried once more.

        Says how many entries could not be written. After that nothing is: what comes later must not hide them.
        """
        noted, last_try = batch.group.noted, self._closing.is_set()
        while True:
            try:
                now = self._clock()
                if noted:
                    self._writer.append(noted.values(), now)
                    noted = {}
                progress = self._writer.sign(now)
            except OSError as error:
                reason = _reason(error)
                if last_try:
                    self._unwritten = reason
                    return len(noted)
                self._tell(self._failed, batch, reason)
                last_try = self._closing.wait(RETRY_SECONDS)
            else:
                self._tell(self._returned, batch, progress)
                return 0

    def _tell(self, callback: Callable[..., None], *arguments: object) -> None:
        if not self._closing.is_set():
            self._loop.call_soon_threadsafe(callback, *arguments)


def _unwritable(reason: str) -> DeviceError:
    return DeviceError(f"the audit log cannot be written: {reason}", "make room, then look at llmosctl audit verify")


def _reason(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{reason}: {error.filename}" if error.filename else reason
