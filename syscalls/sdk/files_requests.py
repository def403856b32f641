"""What the SDK's methods about files mean on the wire, and what a file object remembers between its calls.

Pure, shared by the blocking and the asynchronous classes, as in `requests`. Rule: writes are sent ahead, a bounded
number of them; the kernel does them in order and, after one that failed, none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from llmos.syscalls.abi import files as f
from llmos.syscalls.abi import messages as m
from llmos.syscalls.sdk.protocol import Event, Failed, Happened, Replied, Window
from llmos.syscalls.sdk.requests import Invocation, build, itself
from llmos.syscalls.wire.codec import decode_record

PIECE = 512 << 10
"""Bytes of one write; less is gathered until there is so much."""

AHEAD = 16
"""Writes that are under way at once."""

WINDOW = 32
"""Chunks of a file that are under way or unread."""

WATCH_WINDOW = 256
PAGE = 1000
WHOLE = (1 << 53) - 1
REPLACING = frozenset({"w", "x"})


def open_file(path: str, mode: str, pid: int | None) -> Invocation[f.FileOpened, f.FileOpened]:
    """Gives `.fd` and `.stat`."""
    return Invocation("fs.open", build(f.FileOpen, path=path, mode=mode, pid=pid), f.FileOpened, itself)


def read(fd: int, length: int) -> Invocation[f.FileData, bytes]:
    """Gives bytes; none at the end of the file."""
    request = build(f.FileRead, fd=fd, length=min(length, f.MAX_CHUNK))
    return Invocation("fs.read", request, f.FileData, lambda reply: reply.data)


def read_stream(fd: int, length: int) -> Invocation[f.FileData, bytes]:
    """A stream of chunks."""
    request = build(f.FileRead, fd=fd, length=length, window=WINDOW)
    return Invocation("fs.read", request, f.FileData, lambda reply: reply.data)


def write(fd: int, data: bytes) -> Invocation[f.FilePosition, int]:
    """Gives the position after it."""
    return Invocation("fs.write", f.FileWrite(fd, data), f.FilePosition, lambda reply: reply.position)


def seek(fd: int, offset: int, whence: str) -> Invocation[f.FilePosition, int]:
    """Gives the new position."""
    request = build(f.FileSeek, fd=fd, offset=offset, whence=whence)
    return Invocation("fs.seek", request, f.FilePosition, lambda reply: reply.position)


def close(fd: int, discard: bool) -> Invocation[f.FileStat, f.FileStat]:
    """Gives the file as it is now."""
    return Invocation("fs.close", f.FileClose(fd, discard), f.FileStat, itself)


def stat(path: str) -> Invocation[f.FileStat, f.FileStat]:
    """Gives what it is."""
    return Invocation("fs.stat", build(f.OnPath, path=path), f.FileStat, itself)


def list_directory(path: str, after: str | None) -> Invocation[f.FileEntries, f.FileEntries]:
    """Gives a page."""
    return Invocation("fs.list", build(f.FileList, path=path, limit=PAGE, after=after), f.FileEntries, itself)


def make_directory(path: str, parents: bool) -> Invocation[f.FileStat, f.FileStat]:
    """Gives the directory."""
    return Invocation("fs.mkdir", build(f.FileMakeDirectory, path=path, parents=parents), f.FileStat, itself)


def rename(path: str, target: str, replace: bool) -> Invocation[f.FileStat, f.FileStat]:
    """Gives it under its new name."""
    request = build(f.FileRename, path=path, target=target, replace=replace)
    return Invocation("fs.rename", request, f.FileStat, itself)


def unlink(path: str, recursive: bool) -> Invocation[m.Done, None]:
    """Gives nothing."""
    return Invocation("fs.unlink", build(f.FileUnlink, path=path, recursive=recursive), m.Done, lambda reply: None)


def versions(path: str) -> Invocation[f.KeptVersions, tuple[f.KeptVersion, ...]]:
    """Gives what is kept, latest first."""
    return Invocation("fs.versions", build(f.OnPath, path=path), f.KeptVersions, lambda reply: reply.versions)


def restore(path: str, version: int) -> Invocation[f.FileStat, f.FileStat]:
    """Gives the file as it is now."""
    return Invocation("fs.restore", build(f.FileRestore, path=path, version=version), f.FileStat, itself)


def watch(path: str) -> Invocation[m.Done, None]:
    """A stream of changes."""
    return Invocation("fs.watch", build(f.FileWatch, path=path, window=WATCH_WINDOW), m.Done, lambda reply: None)


# --- what is remembered


@dataclass(slots=True, eq=False)
class Gathered:
    """What is to be written and was not sent yet."""

    _parts: bytearray = field(default_factory=bytearray)

    def add(self, data: bytes | bytearray | memoryview) -> Iterator[bytes]:
        """Take data; gives pieces that are large enough to be sent."""
        view = memoryview(data).cast("B")
        if self._parts:
            missing = PIECE - len(self._parts)
            self._parts += view[:missing]
            view = view[missing:]
            if len(self._parts) < PIECE:
                return
            yield self._take()
        while len(view) >= PIECE:
            yield bytes(view[:PIECE])
            view = view[PIECE:]
        self._parts += view

    def rest(self) -> Iterator[bytes]:
        """What is left."""
        if self._parts:
            yield self._take()

    def _take(self) -> bytes:
        taken = bytes(self._parts)
        self._parts.clear()
        return taken


@dataclass(slots=True, eq=False)
class Incoming:
    """A stream that is being read: of a file's chunks, or of changes."""

    window: Window
    finished: bool = False

    def chunk(self, event: Event) -> bytes | None:
        """The next chunk; None at the end. Raises the error of a stream that failed."""
        raw = self._raw(event)
        return decode_record(f.FileData, raw.raw).data if isinstance(raw, Happened) else None

    def change(self, event: Event) -> f.FileChanged | None:
        """The next change; None at the end."""
        raw = self._raw(event)
        return decode_record(f.FileChanged, raw.raw) if isinstance(raw, Happened) else None

    def _raw(self, event: Event) -> Happened | Replied:
        match event:
            case Happened():
                return event
            case Replied():
                self.finished = True
                return event
            case Failed(error):
                self.finished = True
                raise error


def check_written(event: Event) -> None:
    """Take the answer to a write that was sent ahead; raises its error."""
    if isinstance(event, Failed):
        raise event.error
