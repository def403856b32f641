"""The port to files: a home per owner, somewhere outside.

Implementations are thread-safe; their methods may block, so nobody calls them in the loop. They raise abi errors:
`NotFound`, `AlreadyExists`, `InvalidArgument`, `LimitExceeded`, and `DeviceError` for what the outside refuses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from llmos.syscalls.abi.files import FileChanged, FileEntries, FileStat, KeptVersion, OpenMode, Whence

HOMES = "/home/"
LONGEST_COMPONENT = 255
"""Bytes of one part of a path."""

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Characters that no part of a path holds."""


@dataclass(frozen=True, slots=True)
class FilePath:
    """A path in the home of `owner`; no parts are the home itself."""

    owner: str
    parts: tuple[str, ...]

    def __str__(self) -> str:
        return f"{HOMES}{self.owner}/{'/'.join(self.parts)}"

    def child(self, name: str) -> FilePath:
        """What has this name in the directory."""
        return FilePath(self.owner, (*self.parts, name))


class OpenFile(Protocol):
    """One open file. One thread at a time."""

    @property
    def path(self) -> FilePath:
        """Where the file is now: it may have been renamed since it was opened."""
        ...

    def read(self, length: int) -> bytes:
        """Up to `length` bytes from where it stands; empty at the end."""
        ...

    def write(self, data: bytes) -> int:
        """Write all of it where it stands; the position after it. A file that is appended to stands at its end."""
        ...

    def seek(self, offset: int, whence: Whence) -> int:
        """Move; the new position."""
        ...

    def close(self, discard: bool) -> FileStat:
        """Make what was written lasting and release the file; once, and also when it raises.

        With `discard` what was to replace the old content is dropped.
        """
        ...


@dataclass(frozen=True, slots=True)
class Opened:
    """A file that was opened, as it is."""

    file: OpenFile
    stat: FileStat


class FileSystem(Protocol):
    """Names in homes, and what is behind them."""

    def open(self, path: FilePath, mode: OpenMode) -> Opened:
        """Open a file; nothing but a regular one is ever opened."""
        ...

    def stat(self, path: FilePath) -> FileStat:
        """Describe a file or directory."""
        ...

    def list(self, path: FilePath, limit: int, after: str | None) -> FileEntries:
        """Entries of a directory by name."""
        ...

    def make_directory(self, path: FilePath, parents: bool) -> FileStat:
        """Make a directory; `parents` also those above it, and one that is there is no error."""
        ...

    def rename(self, path: FilePath, target: FilePath, replace: bool) -> FileStat:
        """Give something another path in the same home, with its versions."""
        ...

    def unlink(self, path: FilePath, recursive: bool) -> None:
        """Remove a file with its versions, or a directory."""
        ...


class VersionStore(Protocol):
    """Older contents of files."""

    def versions(self, path: FilePath) -> Sequence[KeptVersion]:
        """Those that are kept, latest first."""
        ...

    def restore(self, path: FilePath, version: int) -> FileStat:
        """Give a file an older content again, as its next version."""
        ...


class Watch(Protocol):
    """Somebody is told what changes."""

    def close(self) -> None:
        """Tell nothing any more. May be called twice, in any thread."""
        ...


class ChangeSource(Protocol):
    """Tells what changes, whoever changes it."""

    def watch(self, path: FilePath, tell: Callable[[Sequence[FileChanged]], None]) -> Watch:
        """Call `tell`, in a thread of the source's own, with what changes at a path and below it from now on."""
        ...
