"""A file that is read as a stream: chunks in their order, as far as the reader's credit goes.

Rule: what was read and not sent is never more than the credit that there was when it was read, so that never more than
a window of chunks is in memory. The descriptor is the stream's until its end.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmos.kernel.gate.calls.descriptors import Descriptor, Traffic
from llmos.kernel.gate.calls.lanes import Lanes, Leave
from llmos.kernel.gate.channel import Channel, Ending
from llmos.syscalls.abi.errors import Error, NotFound
from llmos.syscalls.abi.files import FileData, FileRead

CHUNK = 256 << 10
"""Bytes of a chunk: large enough that a call costs little, small enough that a window of them is not much memory."""

_AT_ONCE = 4
"""Chunks that are read before the first of them is sent."""


@dataclass(frozen=True, slots=True)
class _Chunks:
    """What was read, and whether the file ends there."""

    chunks: tuple[bytes, ...]
    at_end: bool


class FileStream:
    """One stream."""

    def __init__(
        self, lanes: Lanes, descriptor: Descriptor, request: FileRead, channel: Channel, traffic: Traffic
    ) -> None:
        self._traffic = traffic
        self._lanes = lanes
        self._descriptor = descriptor
        self._left = request.length
        self._channel = channel
        self._leave: Leave | None = None
        self._reading = self._at_end = False

    def begin(self, leave: Leave) -> None:
        """The descriptor is ours."""
        self._leave = leave
        self._descriptor.abort = self._abort
        self._channel.on_credit(self._go_on)
        self._channel.on_end(self._ended)
        self._go_on()

    def _go_on(self) -> None:
        """Read as much as the reader takes."""
        if self._reading or self._leave is None:
            return
        if self._channel.over:
            self._finish()
        elif self._at_end or self._left == 0:
            self._finish()
            self._channel.reply(FileData(b""))
        elif self._channel.ready:
            self._reading = True
            count = min(self._channel.credit, _AT_ONCE)
            self._lanes.work(lambda: self._read(count), self._send, self._fail)

    def _read(self, count: int) -> _Chunks:
        """In a thread. A chunk that is shorter than asked for is the last."""
        chunks: list[bytes] = []
        left = self._left
        while len(chunks) < count and left > 0:
            wanted = min(CHUNK, left)
            chunk = self._descriptor.file.read(wanted)
            if chunk:
                chunks.append(chunk)
            if len(chunk) < wanted:
                return _Chunks(tuple(chunks), at_end=True)
            left -= len(chunk)
        return _Chunks(tuple(chunks), at_end=False)

    def _send(self, read: _Chunks) -> None:
        self._reading = False
        self._at_end, sent = read.at_end, read.chunks
        self._left -= sum(map(len, sent))
        # The next ones are read while these are sent.
        credit_left = self._channel.credit - len(sent)
        if credit_left > 0 and not self._at_end and self._left and not self._channel.over:
            self._reading = True
            self._lanes.work(lambda: self._read(min(credit_left, _AT_ONCE)), self._send, self._fail)
        for chunk in sent:
            if not self._channel.over:
                self._traffic.read += len(chunk)
                self._channel.event(FileData(chunk))
        self._go_on()

    def _fail(self, error: Error) -> None:
        self._reading = False
        self._finish()
        self._channel.fail(error)

    def _ended(self, ending: Ending) -> None:
        # What is being read is waited for: the next in the lane may use the file only after that.
        if not self._reading:
            self._finish()

    def _abort(self) -> None:
        if not self._channel.over:
            self._channel.fail(NotFound(f"{self._descriptor.file.path} was closed", "read it to its end first"))
        if not self._reading:
            self._finish()

    def _finish(self) -> None:
        leave, self._leave = self._leave, None
        self._descriptor.abort = lambda: None
        if leave is not None:
            leave()
