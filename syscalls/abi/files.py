"""Requests and replies of the files; `table` says which belongs to which.

A path is `/home/OWNER/...`, or relative to the caller's own home. No component is empty, `.` or `..`; none is longer
than 255 bytes or holds a control character. Times are seconds since the epoch, sizes and positions bytes.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from llmos.syscalls.abi.words import Count, PidField, Record

MAX_CHUNK = 1 << 20
"""Bytes that one read or write moves at most."""

Path = Annotated[str, Meta(max_length=1024)]
Descriptor = Annotated[int, Meta(ge=1, lt=1 << 53)]
FileVersion = Annotated[int, Meta(ge=1, lt=1 << 53)]


class OpenMode(StrEnum):
    """`r` reads. `w` writes a whole new content, which replaces the old one at once when it is closed. `a` appends.

    `x` is `w` for a file that must not exist. `u` reads and writes in place.
    """

    READ = "r"
    WRITE = "w"
    APPEND = "a"
    CREATE = "x"
    UPDATE = "u"


class FileKind(StrEnum):
    """What a path names."""

    FILE = "file"
    DIRECTORY = "directory"


class Whence(StrEnum):
    """From where an offset counts."""

    START = "start"
    CURRENT = "current"
    END = "end"


class Change(StrEnum):
    """What a watcher is told."""

    WATCHING = "watching"
    """The first of all: what changes from now on is told."""
    CREATED = "created"
    CHANGED = "changed"
    REMOVED = "removed"
    MOVED = "moved"
    MISSED = "missed"
    """So much happened that some of it was not told: look for yourself."""


class FileStat(Record, frozen=True):
    """One file or directory. `version` counts the contents that a file has had."""

    path: str
    kind: FileKind
    size: int
    modified: float
    version: int = 0


class FileOpen(Record, frozen=True):
    """Open a file. The descriptor belongs to the process `pid`, and closes when that exits; without one it belongs to
    the connection.
    """

    path: Path
    mode: OpenMode = OpenMode.READ
    pid: PidField | None = None


class FileOpened(Record, frozen=True):
    """The descriptor, and the file as it is."""

    fd: int
    stat: FileStat


class FileRead(Record, frozen=True):
    """Read up to `length` bytes from where the descriptor stands, `MAX_CHUNK` of them at most. With a `window` they
    come as a stream of chunks, `window` of them at once, to the end of the file or until `length` bytes have come; the
    reply is then empty.
    """

    fd: Descriptor
    length: Count = MAX_CHUNK
    window: Annotated[int, Meta(ge=0, le=64)] = 0


class FileData(Record, frozen=True):
    """Bytes of a file; empty at its end."""

    data: bytes


class FileWrite(Record, frozen=True):
    """Write bytes where the descriptor stands."""

    fd: Descriptor
    data: Annotated[bytes, Meta(max_length=MAX_CHUNK)]


class FilePosition(Record, frozen=True):
    """Where the descriptor stands."""

    position: int


class FileSeek(Record, frozen=True):
    """Move the descriptor."""

    fd: Descriptor
    offset: Annotated[int, Meta(gt=-(1 << 53), lt=1 << 53)]
    whence: Whence = Whence.START


class FileClose(Record, frozen=True):
    """Close a descriptor. What was written is on the disk when this is answered; with `discard` it is dropped, as far
    as it was to replace the old content.
    """

    fd: Descriptor
    discard: bool = False


class OnPath(Record, frozen=True):
    """A call whose only argument is a path."""

    path: Path


class FileList(Record, frozen=True):
    """List a directory by name; `after` goes on after that name."""

    path: Path = ""
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 1000
    after: Annotated[str, Meta(max_length=255)] | None = None


class FileEntries(Record, frozen=True):
    """Entries of a directory; `more` when there are more."""

    entries: tuple[FileStat, ...]
    more: bool = False


class FileMakeDirectory(Record, frozen=True):
    """Make a directory; `parents` also those above it, and one that is there is no error."""

    path: Path
    parents: bool = False


class FileRename(Record, frozen=True):
    """Give a file or directory another path; with `replace` an old file there is replaced at once."""

    path: Path
    target: Path
    replace: bool = False


class FileUnlink(Record, frozen=True):
    """Remove a file with its versions, an empty directory, or with `recursive` a directory with what is in it."""

    path: Path
    recursive: bool = False


class FileWatch(Record, frozen=True):
    """Tell what changes at a path and, for a directory, below it, whoever changes it; `watching` comes first. It ends
    when what is watched is removed or moved away. `window` is the first credit, in events.
    """

    path: Path
    window: Annotated[int, Meta(ge=1, le=1 << 16)] = 64


class FileChanged(Record, frozen=True):
    """Something changed; `target` is where it moved."""

    path: str
    change: Change
    target: str | None = None


class KeptVersion(Record, frozen=True):
    """An older content of a file."""

    version: int
    size: int
    modified: float


class KeptVersions(Record, frozen=True):
    """Contents that a file has had and that are kept, latest first."""

    versions: tuple[KeptVersion, ...]


class FileRestore(Record, frozen=True):
    """Give a file an older content again, as its next version."""

    path: Path
    version: FileVersion
