"""The SDK's namespace `files`, for programs that block, and its file objects.

Rules: a file belongs to one thread at a time. What was written is on the disk when `close` returns, and not before; a
`with` block that ends by an exception leaves the old content, where a new one was to replace it.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from contextlib import suppress
from queue import SimpleQueue
from types import TracebackType

from llmos.syscalls.abi import files as f
from llmos.syscalls.abi.errors import Error, InvalidArgument
from llmos.syscalls.sdk import files_requests as requests
from llmos.syscalls.sdk.blocking_call import perform
from llmos.syscalls.sdk.connection import Connection
from llmos.syscalls.sdk.files_requests import Gathered, Incoming
from llmos.syscalls.sdk.protocol import Event, Window
from llmos.syscalls.sdk.undoing import IfInterrupted


class Files:
    """Files in homes. A path is `/home/OWNER/...`, or relative to one's own home."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def open(self, path: str, mode: str = "r", pid: int | None = None) -> File:
        """Open a file: `r`, `w` (replaces at close), `a`, `x` (`w`, must be new) or `u` (read and write in place).

        With `pid` it closes when that process exits.
        """
        opened = perform(self._connection, requests.open_file(path, mode, pid))
        return File(self._connection, opened, mode)

    def read_bytes(self, path: str) -> bytes:
        """All of a file."""
        with self.open(path) as file:
            return file.read()

    def write_bytes(self, path: str, data: bytes) -> f.FileStat:
        """Replace a file, or make it."""
        with self.open(path, "w") as file:
            file.write(data)
            return file.close()

    def list(self, path: str = "") -> builtins.list[f.FileStat]:
        """The entries of a directory, by name."""
        entries: list[f.FileStat] = []
        more, after = True, None
        while more:
            page = perform(self._connection, requests.list_directory(path, after))
            entries += page.entries
            more = page.more
            after = page.entries[-1].path.rpartition("/")[2] if page.entries else None
        return entries

    def stat(self, path: str) -> f.FileStat:
        """What a path names: `.kind .size .modified .version`."""
        return perform(self._connection, requests.stat(path))

    def mkdir(self, path: str, parents: bool = False) -> f.FileStat:
        """Make a directory; with `parents` also those above it, and one that is there is no error."""
        return perform(self._connection, requests.make_directory(path, parents))

    def rename(self, path: str, target: str, replace: bool = False) -> f.FileStat:
        """Give a file or directory another path."""
        return perform(self._connection, requests.rename(path, target, replace))

    def unlink(self, path: str, recursive: bool = False) -> None:
        """Remove a file with its versions, or a directory."""
        perform(self._connection, requests.unlink(path, recursive))

    def versions(self, path: str) -> tuple[f.KeptVersion, ...]:
        """Older contents of a file that are kept, latest first."""
        return perform(self._connection, requests.versions(path))

    def restore(self, path: str, version: int) -> f.FileStat:
        """Give a file an older content again, as its next version."""
        return perform(self._connection, requests.restore(path, version))

    def watch(self, path: str = "") -> Watching:
        """What changes at a path and below it from when this returns. Iterate, and close it or use `with`."""
        return Watching(self._connection, path)


class File:
    """An open file. `stat` is what it was when it was opened."""

    def __init__(self, connection: Connection, opened: f.FileOpened, mode: str) -> None:
        self.fd = opened.fd
        self.stat = opened.stat
        self.mode = mode
        self._connection = connection
        self._gathered = Gathered()
        self._answers: SimpleQueue[Event] = SimpleQueue()
        self._ahead = 0
        self._closed: f.FileStat | None = None

    def __enter__(self) -> File:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._give_up()

    def __iter__(self) -> Iterator[bytes]:
        """Chunks, from where it stands to the end, each as soon as it is there."""
        return self._chunks(requests.WHOLE)

    def read(self, n: int = -1) -> bytes:
        """Up to `n` bytes, fewer only at the end of the file; -1: all that follow."""
        return b"".join(self._chunks(requests.WHOLE if n < 0 else n))

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Write; how many bytes. What the kernel says about it may come later, at the latest from `close`."""
        self._check_open()
        for piece in self._gathered.add(data):
            self._send(piece)
        return len(data)

    def flush(self) -> None:
        """Wait until everything is written; it is on the disk after `close` only. Raises what went wrong."""
        for piece in self._gathered.rest():
            self._send(piece)
        while self._ahead:
            self._take_answer()

    def seek(self, offset: int, whence: str = "start") -> int:
        """Move, from `start`, `current` or `end`; the new position."""
        self._check_open()
        self.flush()
        return perform(self._connection, requests.seek(self.fd, offset, whence))

    def tell(self) -> int:
        """Where it stands."""
        return self.seek(0, "current")

    def close(self) -> f.FileStat:
        """Make what was written lasting, and close; what the file is now. May be called twice."""
        if self._closed is None:
            with IfInterrupted(self._give_up):
                self.flush()
            self._end(discard=False)
        return self._closed or self.stat

    def discard(self) -> None:
        """Close, and drop a content that was to replace another."""
        if self._closed is None:
            self._end(discard=True)

    def _give_up(self) -> None:
        """Discard it, for a reason that is more than what discarding could raise."""
        with suppress(Error):
            self.discard()

    def _end(self, discard: bool) -> None:
        # Closed whatever comes: the kernel has no such descriptor any more.
        self._closed = self.stat
        self._closed = perform(self._connection, requests.close(self.fd, discard))

    def _send(self, piece: bytes) -> None:
        while self._ahead >= requests.AHEAD:
            self._take_answer()
        call = requests.write(self.fd, piece)
        self._connection.start(call.call, call.request, self._answers)
        self._ahead += 1

    def _take_answer(self) -> None:
        event = self._answers.get()
        self._ahead -= 1
        requests.check_written(event)

    def _chunks(self, length: int) -> Iterator[bytes]:
        """A stream of at most so many bytes; whoever stops in the middle stands after what he got."""
        self._check_open()
        self.flush()
        if length <= f.MAX_CHUNK:
            yield from self._few(length)
            return
        start = perform(self._connection, requests.seek(self.fd, 0, "current"))
        call, events = requests.read_stream(self.fd, length), SimpleQueue[Event]()
        stream = Incoming(Window(requests.WINDOW))
        id = self._connection.start(call.call, call.request, events)
        try:
            while (chunk := stream.chunk(events.get())) is not None:
                start += len(chunk)
                yield chunk
                if credit := stream.window.consume():
                    self._connection.credit(id, credit)
        finally:
            if not stream.finished:
                self._connection.abandon(id)
                with suppress(Error):
                    perform(self._connection, requests.seek(self.fd, start, "start"))

    def _few(self, length: int) -> Iterator[bytes]:
        while length > 0 and (data := perform(self._connection, requests.read(self.fd, length))):
            yield data
            length -= len(data)

    def _check_open(self) -> None:
        if self._closed is not None:
            raise InvalidArgument(f"{self.stat.path} is closed", "open it again")


class Watching:
    """Changes, told from when it was made."""

    def __init__(self, connection: Connection, path: str) -> None:
        self._connection = connection
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._stream = Incoming(Window(requests.WATCH_WINDOW))
        call = requests.watch(path)
        self._id = connection.start(call.call, call.request, self._events)
        self._abandon = connection.abandon_with(self, self._id)
        next(self)

    def __iter__(self) -> Iterator[f.FileChanged]:
        return self

    def __next__(self) -> f.FileChanged:
        change = None if self._stream.finished else self._stream.change(self._events.get())
        if change is None:
            raise StopIteration
        if credit := self._stream.window.consume():
            self._connection.credit(self._id, credit)
        return change

    def __enter__(self) -> Watching:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Watch no more."""
        self._abandon()
