"""Open files: one that is read, one whose content is to replace another, one that is written in place.

Each belongs to one thread at a time; its home may tell it from any. Rules:

- What is written is counted before it is written, and what could not be written is not counted.
- A content that replaces is on the disk before it has its name. Whatever ends it otherwise leaves the old one.
- Before the first change in place the content as it was is kept. Appending keeps none: the old content is the
  beginning of the new one.
"""

from __future__ import annotations

import os
from contextlib import suppress

from llmos.drivers.files import host
from llmos.drivers.files.failures import told
from llmos.drivers.files.home import Home
from llmos.drivers.files.publishing import copy_to_temporary, drop_copy, place_copy, publish, stat_of
from llmos.drivers.files.undoing import undoing
from llmos.kernel.ports.files import FilePath
from llmos.syscalls.abi.errors import InvalidArgument, TryAgain
from llmos.syscalls.abi.files import FileStat, Whence

_FARTHEST = (1 << 53) - 1
_LARGE, _MOST_RESERVED = 1 << 22, 1 << 24
"""Bytes from which on room is reserved, and most that is reserved at once: a quarter of what there is, up to that."""

_CACHED, _BEHIND = 1 << 26, 4 * _LARGE
"""Bytes from which on the host's memory is not filled with what is written, and how far the disk may be behind."""


class _Standing:
    """A descriptor of the host, and where one stands in it."""

    def __init__(self, home: Home, path: FilePath, file: int) -> None:
        self.path = path
        self.home = home
        self.file = file
        self.position = 0

    def seek(self, offset: int, whence: Whence) -> int:
        """Move; the new position. Raises `InvalidArgument`."""
        start = {Whence.START: 0, Whence.CURRENT: self.position, Whence.END: os.fstat(self.file).st_size}[whence]
        if not 0 <= start + offset <= _FARTHEST:
            raise InvalidArgument(f"the position {start + offset} of {self.path} cannot be", "from 0 to 2^53 - 1")
        self.position = start + offset
        return self.position

    def pread(self, length: int) -> bytes:
        with told(self.path):
            data = os.pread(self.file, length, self.position)
        self.position += len(data)
        return data

    def pwrite(self, data: bytes) -> int:
        """Write all of it and count it; the position after it."""
        before = os.fstat(self.file).st_size
        growth = max(0, self.position + len(data) - before)
        self.home.grow(self.path, growth)

        def undo() -> None:
            if growth:
                os.ftruncate(self.file, before)
            self.home.grow(self.path, -growth)

        with undoing(undo), told(self.path):
            _write_all(self.file, data, self.position)
        self.position += len(data)
        return self.position

    def stat(self) -> FileStat:
        return stat_of(self.home, self.path, os.fstat(self.file))


class ReadingFile(_Standing):
    """Mode `r`."""

    def read(self, length: int) -> bytes:
        return self.pread(length)

    def write(self, data: bytes) -> int:
        raise InvalidArgument(f"{self.path} is open for reading", "open it with w, a, x or u")

    def sever(self, reason: str) -> None:
        """Whoever reads goes on with the content that was opened."""

    def close(self, discard: bool) -> FileStat:
        try:
            with told(self.path):
                return self.stat()
        finally:
            with self.home.lock:
                self.home.handles.discard(self)
            os.close(self.file)


class ReplacingFile(_Standing):
    """Modes `w` and `x`: `name` is the temporary file; `entered` says that a new file was counted.

    What grows beyond `_LARGE` gets its room on the disk in larger pieces than it is written in: finding room for each
    is what writing costs most, as long as the disk keeps up. What grows beyond `_CACHED` goes to the disk while it is
    written: one long file must not drive what others use out of the host's memory, nor wait for all of it at its end.
    """

    def __init__(self, home: Home, path: FilePath, file: int, name: str, exclusive: bool, entered: bool) -> None:
        super().__init__(home, path, file)
        self._name = name
        self._exclusive = exclusive
        self._entered = entered
        self._reserved = 0

    def read(self, length: int) -> bytes:
        raise InvalidArgument(f"{self.path} is open for writing", "open it with r, or with u for both")

    def write(self, data: bytes) -> int:
        end = self.position + len(data)
        if self.position >= _LARGE and end > self._reserved:
            self._reserve(self.position, end)
        before, after = self.position, self.pwrite(data)
        if before >= _CACHED and after // _LARGE > before // _LARGE:
            self._hand_over(before // _LARGE * _LARGE)
        return after

    def _hand_over(self, start: int) -> None:
        """Where it cannot be done, it is left: closing waits for the disk in any case."""
        with suppress(OSError):
            host.begin_writing(self.file, start, _LARGE)
            host.drop_written(self.file, start - _BEHIND, _LARGE)

    def _reserve(self, start: int, end: int) -> None:
        """Where it cannot be done, it is left: then writing is slower, or says what is wrong."""
        size = max(end - start, min(_MOST_RESERVED, start // 4))
        with suppress(OSError):
            host.reserve(self.file, start, size)
        self._reserved = start + size

    def _give_back(self) -> None:
        size = os.fstat(self.file).st_size
        if self._reserved > size:
            os.ftruncate(self.file, size)

    def sever(self, reason: str) -> None:
        """What will replace it is not there yet."""

    def close(self, discard: bool) -> FileStat:
        with self.home.lock:
            self.home.handles.discard(self)
            path = self.path
        placed = False
        try:
            with told(path):
                if discard:
                    return stat_of(self.home, path, os.fstat(self.file), version=0)
                self._give_back()
                os.fsync(self.file)
                with self.home.lock:
                    stat = publish(self.home, self._name, path, self._exclusive, self._entered)
                    placed = True
                return stat
        finally:
            if not placed:
                self._drop()
            os.close(self.file)

    def _drop(self) -> None:
        with self.home.lock, self.home.temporary() as temporary:
            try:
                os.unlink(self._name, dir_fd=temporary)
            except FileNotFoundError:
                return  # it has its name, and the disk failed after that
            self.home.grow(self.path, -os.fstat(self.file).st_size)
            if self._entered:
                self.home.enter(-1)


class InPlaceFile(_Standing):
    """Modes `a` and `u`."""

    def __init__(self, home: Home, path: FilePath, file: int, appending: bool) -> None:
        super().__init__(home, path, file)
        self._appending = appending
        self._severed = ""
        self._changed = False

    def read(self, length: int) -> bytes:
        if self._appending:
            raise InvalidArgument(f"{self.path} is open for appending", "open it with r, or with u for both")
        return self.pread(length)

    def write(self, data: bytes) -> int:
        if not self._appending and not self._changed and self.home.bounds.versions:
            self._keep()
        # Under the lock: nothing that is kept may be changed because it was replaced in this moment.
        with self.home.lock:
            self._check()
            if self._appending:
                self.position = os.fstat(self.file).st_size
            self._changed = True
            return self.pwrite(data)

    def _keep(self) -> None:
        """Keep the content as it is before the first change."""
        self._check()
        with told(self.path):
            old = os.fstat(self.file)
            name = copy_to_temporary(self.home, self.path, self.file)
            with self.home.lock:
                if self._severed:
                    drop_copy(self.home, self.path, name, old.st_size)
                else:
                    place_copy(self.home, self.path, name, old)

    def _check(self) -> None:
        if self._severed:
            raise TryAgain(f"{self.path}: {self._severed} since it was opened", "open it again")

    def sever(self, reason: str) -> None:
        """Write no more."""
        self._severed = reason

    def close(self, discard: bool) -> FileStat:
        try:
            with told(self.path):
                if self._changed:
                    os.fsync(self.file)
                return self.stat()
        finally:
            with self.home.lock:
                self.home.handles.discard(self)
            os.close(self.file)


def _write_all(file: int, data: bytes, position: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, position)
        view, position = view[written:], position + written
