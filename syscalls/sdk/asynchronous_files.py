"""The SDK's namespace `files`, for asyncio programs: the same methods as the blocking ones, to be awaited.

`open` can be awaited, or used in `async with`. A file belongs to one task at a time.
"""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Generator
from contextlib import suppress
from types import TracebackType

from llmos.syscalls.abi import files as f
from llmos.syscalls.abi.errors import Error, InvalidArgument
from llmos.syscalls.sdk import files_requests as requests
from llmos.syscalls.sdk.asynchronous_call import perform
from llmos.syscalls.sdk.asynchronous_generation import LoopInbox
from llmos.syscalls.sdk.connection import Connection
from llmos.syscalls.sdk.files_requests import Gathered, Incoming
from llmos.syscalls.sdk.protocol import Window
from llmos.syscalls.sdk.undoing import AsyncIfInterrupted


class AsyncFiles:
    """Files in homes. A path is `/home/OWNER/...`, or relative to one's own home."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def open(self, path: str, mode: str = "r", pid: int | None = None) -> Opening:
        """Open a file, with the modes of the blocking one."""
        return Opening(self._connection, path, mode, pid)

    async def read_bytes(self, path: str) -> bytes:
        """All of a file."""
        async with self.open(path) as file:
            return await file.read()

    async def write_bytes(self, path: str, data: bytes) -> f.FileStat:
        """Replace a file, or make it."""
        async with self.open(path, "w") as file:
            await file.write(data)
            return await file.close()

    async def list(self, path: str = "") -> builtins.list[f.FileStat]:
        """The entries of a directory, by name."""
        entries: list[f.FileStat] = []
        more, after = True, None
        while more:
            page = await perform(self._connection, requests.list_directory(path, after))
            entries += page.entries
            more = page.more
            after = page.entries[-1].path.rpartition("/")[2] if page.entries else None
        return entries

    async def stat(self, path: str) -> f.FileStat:
        """What a path names: `.kind .size .modified .version`."""
        return await perform(self._connection, requests.stat(path))

    async def mkdir(self, path: str, parents: bool = False) -> f.FileStat:
        """Make a directory; with `parents` also those above it, and one that is there is no error."""
        return await perform(self._connection, requests.make_directory(path, parents))

    async def rename(self, path: str, target: str, replace: bool = False) -> f.FileStat:
        """Give a file or directory another path."""
        return await perform(self._connection, requests.rename(path, target, replace))

    async def unlink(self, path: str, recursive: bool = False) -> None:
        """Remove a file with its versions, or a directory."""
        await perform(self._connection, requests.unlink(path, recursive))

    async def versions(self, path: str) -> tuple[f.KeptVersion, ...]:
        """Older contents of a file that are kept, latest first."""
        return await perform(self._connection, requests.versions(path))

    async def restore(self, path: str, version: int) -> f.FileStat:
        """Give a file an older content again, as its next version."""
        return await perform(self._connection, requests.restore(path, version))

    async def watch(self, path: str = "") -> AsyncWatching:
        """What changes at a path and below it from when this returns. Iterate with `async for`, and close it."""
        watching = AsyncWatching(self._connection, path)
        await watching.__anext__()
        return watching


class Opening:
    """A file to be: awaited it gives an `AsyncFile`, in `async with` it closes that at the end."""

    def __init__(self, connection: Connection, path: str, mode: str, pid: int | None) -> None:
        self._connection = connection
        self._call = requests.open_file(path, mode, pid)
        self._mode = mode
        self._file: AsyncFile | None = None

    def __await__(self) -> Generator[object, None, AsyncFile]:
        return self._open().__await__()

    async def __aenter__(self) -> AsyncFile:
        self._file = await self._open()
        return self._file

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is None:
            return
        if error is None:
            await self._file.close()
        else:
            await self._file._give_up()

    async def _open(self) -> AsyncFile:
        return AsyncFile(self._connection, await perform(self._connection, self._call), self._mode)


class AsyncFile:
    """An open file. `stat` is what it was when it was opened."""

    def __init__(self, connection: Connection, opened: f.FileOpened, mode: str) -> None:
        self.fd = opened.fd
        self.stat = opened.stat
        self.mode = mode
        self._connection = connection
        self._gathered = Gathered()
        self._answers = LoopInbox()
        self._ahead = 0
        self._closed: f.FileStat | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Chunks, from where it stands to the end, each as soon as it is there."""
        return self._chunks(requests.WHOLE)

    async def read(self, n: int = -1) -> bytes:
        """Up to `n` bytes, fewer only at the end of the file; -1: all that follow."""
        return b"".join([chunk async for chunk in self._chunks(requests.WHOLE if n < 0 else n)])

    async def write(self, data: bytes | bytearray | memoryview) -> int:
        """Write; how many bytes. What the kernel says about it may come later, at the latest from `close`."""
        self._check_open()
        for piece in self._gathered.add(data):
            await self._send(piece)
        return len(data)

    async def flush(self) -> None:
        """Wait until everything is written; it is on the disk after `close` only. Raises what went wrong."""
        for piece in self._gathered.rest():
            await self._send(piece)
        while self._ahead:
            await self._take_answer()

    async def seek(self, offset: int, whence: str = "start") -> int:
        """Move, from `start`, `current` or `end`; the new position."""
        self._check_open()
        await self.flush()
        return await perform(self._connection, requests.seek(self.fd, offset, whence))

    async def tell(self) -> int:
        """Where it stands."""
        return await self.seek(0, "current")

    async def close(self) -> f.FileStat:
        """Make what was written lasting, and close; what the file is now. May be called twice."""
        if self._closed is None:
            async with AsyncIfInterrupted(self._give_up):
                await self.flush()
            await self._end(discard=False)
        return self._closed or self.stat

    async def discard(self) -> None:
        """Close, and drop a content that was to replace another."""
        if self._closed is None:
            await self._end(discard=True)

    async def _give_up(self) -> None:
        """Discard it, for a reason that is more than what discarding could raise."""
        with suppress(Error):
            await self.discard()

    async def _end(self, discard: bool) -> None:
        self._closed = self.stat
        self._closed = await perform(self._connection, requests.close(self.fd, discard))

    async def _send(self, piece: bytes) -> None:
        while self._ahead >= requests.AHEAD:
            await self._take_answer()
        call = requests.write(self.fd, piece)
        self._connection.start(call.call, call.request, self._answers)
        self._ahead += 1

    async def _take_answer(self) -> None:
        event = await self._answers.get()
        self._ahead -= 1
        requests.check_written(event)

    async def _chunks(self, length: int) -> AsyncIterator[bytes]:
        """A stream of at most so many bytes; whoever stops in the middle stands after what he got."""
        self._check_open()
        await self.flush()
        while 0 < length <= f.MAX_CHUNK:
            data = await perform(self._connection, requests.read(self.fd, length))
            if not data:
                return
            length -= len(data)
            yield data
        if length <= 0:
            return
        start = await perform(self._connection, requests.seek(self.fd, 0, "current"))
        call, events = requests.read_stream(self.fd, length), LoopInbox()
        stream = Incoming(Window(requests.WINDOW))
        id = self._connection.start(call.call, call.request, events)
        try:
            while (chunk := stream.chunk(await events.get())) is not None:
                start += len(chunk)
                yield chunk
                if credit := stream.window.consume():
                    self._connection.credit(id, credit)
        finally:
            if not stream.finished:
                self._connection.abandon(id)
                with suppress(Error):
                    await perform(self._connection, requests.seek(self.fd, start, "start"))

    def _check_open(self) -> None:
        if self._closed is not None:
            raise InvalidArgument(f"{self.stat.path} is closed", "open it again")


class AsyncWatching:
    """Changes, told from when it was made."""

    def __init__(self, connection: Connection, path: str) -> None:
        self._connection = connection
        self._events = LoopInbox()
        self._stream = Incoming(Window(requests.WATCH_WINDOW))
        call = requests.watch(path)
        self._id = connection.start(call.call, call.request, self._events)
        self._abandon = connection.abandon_with(self, self._id)

    def __aiter__(self) -> AsyncIterator[f.FileChanged]:
        return self

    async def __anext__(self) -> f.FileChanged:
        change = None if self._stream.finished else self._stream.change(await self._events.get())
        if change is None:
            raise StopAsyncIteration
        if credit := self._stream.window.consume():
            self._connection.credit(self._id, credit)
        return change

    async def __aenter__(self) -> AsyncWatching:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Watch no more."""
        self._abandon()
