"""The home of one owner: its lock, what it holds, and how much more it may.

It does not know what is done with it. Rules:

- Whatever changes names, versions or the account holds the lock.
- The account is counted anew when the home is first used after a start; what somebody changes from outside is counted
  then. It is asked before anything is written.
- When there is no room for a file, the oldest kept contents of the same file make room.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from threading import RLock
from typing import Protocol

from llmos.drivers.files import kept
from llmos.drivers.files.layout import TEMPORARY, VERSIONS, Layout
from llmos.drivers.files.resolving import Resolver, directory
from llmos.kernel.ports.files import FilePath
from llmos.syscalls.abi.errors import LimitExceeded


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one owner may have: kept versions of a file, bytes (versions too), and files and directories."""

    versions: int = 8
    quota: int = 1 << 30
    files: int = 100_000


class Handle(Protocol):
    """An open file that must be told when its name moves or its content is replaced."""

    path: FilePath

    def sever(self, reason: str) -> None:
        """What it writes to in place is not the file of that name any more."""
        ...


class Home:
    """Of one owner. `used` and `entries` are written under the lock."""

    def __init__(self, owner: str, layout: Layout, resolver: Resolver, bounds: Bounds) -> None:
        self.owner = owner
        self.layout = layout
        self.resolver = resolver
        self.bounds = bounds
        self.lock = RLock()
        self.used = 0
        self.entries = 0
        self.counted = False
        self.handles: set[Handle] = set()

    @contextmanager
    def directory(self, path: FilePath) -> Iterator[int]:
        """An open directory of the home."""
        root = self.layout.home(self.owner)
        try:
            with directory(self.resolver, root, path.parts) as found:
                yield found
        finally:
            os.close(root)

    def parent(self, path: FilePath) -> AbstractContextManager[int]:
        """The open directory that a path is in."""
        return self.directory(FilePath(path.owner, path.parts[:-1]))

    def temporary(self) -> AbstractContextManager[int]:
        """Where contents are written before they replace others."""
        return self.layout.kept(self.owner, TEMPORARY)

    def versions(self) -> AbstractContextManager[int]:
        """The root of all that is kept."""
        return self.layout.kept(self.owner, VERSIONS)

    @contextmanager
    def place(self, path: FilePath, make: bool = False) -> Iterator[int | None]:
        """The open folder of a file's versions; None when there is none."""
        with self.versions() as root:
            found = kept.open_place(root, kept.place_of_file(path.parts), make)
            try:
                yield found
            finally:
                if found is not None:
                    os.close(found)

    def held(self, path: FilePath) -> kept.Held:
        """What is kept of a file."""
        with self.versions() as root:
            return kept.held_at(root, kept.place_of_file(path.parts))

    # --- the account

    def grow(self, path: FilePath, size: int) -> None:
        """Count so many bytes more for a file, which may be fewer. Raises `LimitExceeded`, and then nothing is
        counted.
        """
        with self.lock:
            if size > 0 and self.used + size > self.bounds.quota:
                self._make_room(path, self.used + size - self.bounds.quota)
            if size > 0 and self.used + size > self.bounds.quota:
                raise LimitExceeded(
                    f"{self.owner} would have {self.used + size} bytes of files and old versions; "
                    f"the limit files.quota is {self.bounds.quota}",
                    "unlink what is not needed, or have files.quota raised",
                )
            self.used += size

    def enter(self, count: int = 1) -> None:
        """Count so many files and directories more. Raises `LimitExceeded`."""
        with self.lock:
            if count > 0 and self.entries + count > self.bounds.files:
                raise LimitExceeded(
                    f"{self.owner} has {self.entries} files and directories; "
                    f"the limit files.files is {self.bounds.files}",
                    "unlink what is not needed, or have files.files raised",
                )
            self.entries += count

    def sever(self, path: FilePath, reason: str) -> None:
        """Tell the handles on a path and below it."""
        for handle in self.handles:
            if handle.path.parts[: len(path.parts)] == path.parts:
                handle.sever(reason)

    def moved(self, path: FilePath, target: FilePath) -> None:
        """Tell the handles on a path and below it where they are now."""
        length = len(path.parts)
        for handle in self.handles:
            if handle.path.parts[:length] == path.parts:
                handle.path = FilePath(path.owner, (*target.parts, *handle.path.parts[length:]))

    def _make_room(self, path: FilePath, size: int) -> None:
        """Drop kept contents of a file, oldest first, until so many bytes are free."""
        with self.place(path) as folder:
            if folder is None or kept.size_in(folder) < size:
                return
            for number in kept.held_in(folder).numbers:
                if size <= 0:
                    return
                freed = kept.drop(folder, (number,))
                self.used -= freed
                size -= freed
