"""The calls about open files: read, write, seek, close; and how a file ends that nobody closes.

Rules: calls on one descriptor are done one after the other, in the order in which they came; after a write that failed
nothing more is written, so that calls sent ahead leave no gap. A file that ends without `fs.close` has its content
dropped, as far as it was to replace another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from llmos.kernel.core.authority import Authorized
from llmos.kernel.core.principal import Principal
from llmos.kernel.gate.calls.descriptors import Descriptor, Descriptors
from llmos.kernel.gate.calls.file_stream import FileStream
from llmos.kernel.gate.calls.handler import Handler, row
from llmos.kernel.gate.calls.lanes import Lanes, Leave
from llmos.kernel.gate.channel import Channel
from llmos.syscalls.abi import files as f
from llmos.syscalls.abi.errors import Error, TryAgain
from llmos.syscalls.abi.words import Pid

MOST_UNWRITTEN = 64 << 20
"""Bytes of one principal that wait to be written."""


class OpenFiles:
    """One method per call."""

    def __init__(self, table: Descriptors, lanes: Lanes) -> None:
        self.table = table
        self._lanes = lanes
        self._unwritten: Counter[str] = Counter()

    def handlers(self) -> dict[str, Handler]:
        """By the names of the calls."""
        return dict(
            (
                row("fs.read", f.FileRead, self.read),
                row("fs.write", f.FileWrite, self.write),
                row("fs.seek", f.FileSeek, self.seek),
                row("fs.close", f.FileClose, self.close),
            )
        )

    def read(self, by: Authorized, request: f.FileRead, channel: Channel) -> None:
        descriptor = self.table.use(request.fd, by.principal)
        if request.window:
            stream = FileStream(self._lanes, descriptor, request, channel, self.table.traffic)
            self._lanes.enter(descriptor, stream.begin)
            return
        length = min(request.length, f.MAX_CHUNK)

        def then(data: bytes) -> None:
            self.table.traffic.read += len(data)
            channel.reply(f.FileData(data))

        self._lanes.perform(descriptor, lambda: descriptor.file.read(length), then, channel.fail)

    def write(self, by: Authorized, request: f.FileWrite, channel: Channel) -> None:
        descriptor = self.table.use(request.fd, by.principal)
        who, size = by.principal, len(request.data)
        if self._unwritten[who.name] + size > MOST_UNWRITTEN:
            descriptor.failed = descriptor.failed or TryAgain(
                f"{MOST_UNWRITTEN} bytes wait to be written already", "wait for the answers of earlier writes"
            )
            raise descriptor.failed
        self._unwritten[who.name] += size

        def turn(leave: Leave) -> None:
            def written(position: int) -> None:
                self._forget_unwritten(who, size)
                self.table.traffic.written += size
                leave()
                channel.reply(f.FilePosition(position))

            def failed(error: Error) -> None:
                descriptor.failed = error
                self._forget_unwritten(who, size)
                leave()
                channel.fail(error)

            if descriptor.failed is not None:
                failed(descriptor.failed)
            else:
                self._lanes.work(lambda: descriptor.file.write(request.data), written, failed)

        self._lanes.enter(descriptor, turn)

    def seek(self, by: Authorized, request: f.FileSeek, channel: Channel) -> None:
        descriptor = self.table.use(request.fd, by.principal)
        work = lambda: f.FilePosition(descriptor.file.seek(request.offset, request.whence))  # noqa: E731 (used once)
        self._lanes.perform(descriptor, work, channel.reply, channel.fail)

    def close(self, by: Authorized, request: f.FileClose, channel: Channel) -> None:
        descriptor = self.table.use(request.fd, by.principal)
        self.table.remove(descriptor)

        def closed(stat: f.FileStat) -> None:
            if descriptor.failed is not None and not request.discard:
                channel.fail(descriptor.failed)
            else:
                channel.reply(stat)

        self._end(descriptor, request.discard, closed, channel.fail)

    def drop(self, descriptor: Descriptor) -> None:
        """End a file that nobody can use any more."""
        if self.table.remove(descriptor):
            self._end(descriptor, True, lambda stat: None, lambda error: None)

    def process_exited(self, pid: Pid) -> None:
        """End what a process has open."""
        for descriptor in self.table.of_process(pid):
            self.drop(descriptor)

    def _end(
        self,
        descriptor: Descriptor,
        discard: bool,
        closed: Callable[[f.FileStat], None],
        failed: Callable[[Error], None],
    ) -> None:
        def work() -> f.FileStat:
            return descriptor.file.close(discard or descriptor.failed is not None)

        self._lanes.perform(descriptor, work, closed, failed)

    def _forget_unwritten(self, who: Principal, size: int) -> None:
        self._unwritten[who.name] -= size
        if self._unwritten[who.name] <= 0:
            del self._unwritten[who.name]
