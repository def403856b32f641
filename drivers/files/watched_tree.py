"""One watched path: a directory and everything below it, or one name in a directory, as inotify tells of it.

It does not know threads or who is told. Rules:

- What is there is known by name, so that a content that takes the place of another shows as one change of that name,
  and what comes in from the hidden area under a new name as new.
- Links and devices are neither followed nor told.
- A directory that comes to be is watched first and then read, so that nothing that is put into it is missed.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from stat import S_ISDIR, S_ISREG

from llmos.drivers.files import host
from llmos.drivers.files.home import Home
from llmos.drivers.files.layout import look
from llmos.drivers.files.undoing import undoing
from llmos.kernel.ports.files import CONTROL, FilePath
from llmos.syscalls.abi.errors import LimitExceeded
from llmos.syscalls.abi.files import Change, FileChanged

MOST_FOLDERS = 8192
"""Directories below one watched path: the host bounds them for all programs of a user together."""

_MODIFY, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x2, 0x40, 0x80, 0x100, 0x200
_DELETE_SELF, _MOVE_SELF, _OVERFLOW, _IGNORED = 0x400, 0x800, 0x4000, 0x8000
_ONLY_DIRECTORIES = 0x01000000
_MASK = _MODIFY | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _DELETE_SELF | _MOVE_SELF | _ONLY_DIRECTORIES
_EVENT = struct.Struct("iIII")
_BUFFER = 1 << 16

Parts = tuple[str, ...]


@dataclass(slots=True, eq=False)
class _Folder:
    """A watched directory and the names in it; True for those of directories."""

    parts: Parts
    names: dict[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Event:
    number: int
    mask: int
    cookie: int
    name: str


@dataclass(frozen=True, slots=True)
class _Leaving:
    """The first half of a renaming."""

    cookie: int
    folder: _Folder
    name: str
    is_directory: bool


class WatchedTree:
    """Belongs to one thread, after it was made."""

    def __init__(self, home: Home, path: FilePath, is_directory: bool) -> None:
        """Begin. Raises `OSError` and `LimitExceeded`."""
        self.path = path
        self.over = False
        """What was watched is gone; nothing more will come."""
        self._home = home
        self._only = None if is_directory else path.parts[-1]
        self._top = path.parts if is_directory else path.parts[:-1]
        self._folders: dict[int, _Folder] = {}
        self._leaving: _Leaving | None = None
        self._inotify = host.new_inotify()
        with undoing(self.close):
            list(self._add(self._top))

    def fileno(self) -> int:
        """Readable when something has changed."""
        return self._inotify

    @property
    def undecided(self) -> bool:
        """Something has left its name, and may have got another."""
        return self._leaving is not None

    def close(self) -> None:
        """Watch no more."""
        os.close(self._inotify)

    def changes(self) -> tuple[FileChanged, ...]:
        """What has changed since the last time; the same change of one name in a row is one."""
        found: list[FileChanged] = []
        for change in self._read():
            if not found or found[-1] != change:
                found.append(change)
        return tuple(found)

    def settle(self) -> tuple[FileChanged, ...]:
        """What has left has gone."""
        return tuple(self._left())

    def _read(self) -> Iterator[FileChanged]:
        try:
            data = os.read(self._inotify, _BUFFER)
        except BlockingIOError:
            return
        offset = 0
        while offset < len(data):
            number, mask, cookie, length = _EVENT.unpack_from(data, offset)
            offset += _EVENT.size
            name = os.fsdecode(data[offset : offset + length].rstrip(b"\0"))
            offset += length
            yield from self._take(_Event(number, mask, cookie, name))

    def _take(self, event: _Event) -> Iterator[FileChanged]:
        if event.mask & _OVERFLOW:
            yield from self._start_again()
            return
        folder = self._folders.get(event.number)
        if folder is None or CONTROL.search(event.name):
            return
        if self._leaving is not None and not (event.mask & _MOVED_TO and event.cookie == self._leaving.cookie):
            yield from self._left()
        if event.mask & (_DELETE_SELF | _MOVE_SELF | _IGNORED):
            yield from self._gone(event, folder)
        elif event.mask & _CREATE:
            yield from self._appeared(folder, event.name)
        elif event.mask & _MOVED_TO:
            yield from self._arrived(folder, event.name)
        elif event.name in folder.names:
            yield from self._known(folder, event)

    def _known(self, folder: _Folder, event: _Event) -> Iterator[FileChanged]:
        """Something happened to a name that is known."""
        if event.mask & _MODIFY:
            yield from self._tell(folder, event.name, Change.CHANGED)
        elif event.mask & _DELETE:
            del folder.names[event.name]
            yield from self._tell(folder, event.name, Change.REMOVED)
        elif event.mask & _MOVED_FROM:
            self._leaving = _Leaving(event.cookie, folder, event.name, folder.names.pop(event.name))

    def _appeared(self, folder: _Folder, name: str) -> Iterator[FileChanged]:
        is_directory = self._kind(folder, name)
        if is_directory is None or name in folder.names:
            return
        folder.names[name] = is_directory
        yield from self._tell(folder, name, Change.CREATED)
        if is_directory and self._only is None:
            yield from self._add((*folder.parts, name))

    def _arrived(self, folder: _Folder, name: str) -> Iterator[FileChanged]:
        leaving, self._leaving = self._leaving, None
        if leaving is None:
            if name not in folder.names:
                yield from self._appeared(folder, name)
            else:
                yield from self._tell(folder, name, Change.CHANGED)
            return
        folder.names[name] = leaving.is_directory
        if self._only is not None:
            yield from self._tell(leaving.folder, leaving.name, Change.MOVED, (*folder.parts, name))
            yield from self._tell(folder, name, Change.CHANGED)
            return
        yield from self._tell(leaving.folder, leaving.name, Change.MOVED, (*folder.parts, name))
        if leaving.is_directory:
            self._moved((*leaving.folder.parts, leaving.name), (*folder.parts, name))

    def _left(self) -> Iterator[FileChanged]:
        """What has left did not arrive anywhere here."""
        leaving, self._leaving = self._leaving, None
        if leaving is None:
            return
        yield from self._tell(leaving.folder, leaving.name, Change.REMOVED)
        above = (*leaving.folder.parts, leaving.name)
        for number, folder in list(self._folders.items()):
            if folder.parts[: len(above)] == above:
                del self._folders[number]
                host.remove_watch(self._inotify, number)

    def _gone(self, event: _Event, folder: _Folder) -> Iterator[FileChanged]:
        if folder.parts != self._top:
            if not event.mask & _MOVE_SELF:
                del self._folders[event.number]
        elif not self.over and folder.parts:
            self.over = True
            yield FileChanged(str(self.path), Change.REMOVED)

    def _moved(self, old: Parts, new: Parts) -> None:
        for folder in self._folders.values():
            if folder.parts[: len(old)] == old:
                folder.parts = (*new, *folder.parts[len(old) :])

    def _add(self, parts: Parts) -> Iterator[FileChanged]:
        """Watch a directory and what is below it; what is in it already is told as new."""
        waiting = [parts]
        while waiting:
            folder = self._watch(waiting.pop())
            if folder is None:
                continue
            for name in self._names(folder):
                is_directory = self._kind(folder, name)
                if is_directory is None or name in folder.names:
                    continue
                folder.names[name] = is_directory
                yield from self._tell(folder, name, Change.CREATED)
                if is_directory and self._only is None:
                    waiting.append((*folder.parts, name))

    def _watch(self, parts: Parts) -> _Folder | None:
        if len(self._folders) >= MOST_FOLDERS:
            raise LimitExceeded(
                f"there are more than {MOST_FOLDERS} directories below {self.path}", "watch one of those below it"
            )
        try:
            with self._home.directory(FilePath(self._home.owner, parts)) as opened:
                number = host.add_watch(self._inotify, opened, _MASK)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise LimitExceeded(
                    "the host watches as many directories as it may", "raise fs.inotify.max_user_watches on the host"
                ) from None
            if parts == self._top:
                raise
            return None  # it has gone again, and that will be told
        folder = self._folders[number] = _Folder(parts)
        return folder

    def _names(self, folder: _Folder) -> list[str]:
        try:
            with self._home.directory(FilePath(self._home.owner, folder.parts)) as opened:
                return sorted(name for name in os.listdir(opened) if not CONTROL.search(name))
        except OSError:
            return []

    def _kind(self, folder: _Folder, name: str) -> bool | None:
        """Whether a name is a directory's; None when it is neither that nor a file's."""
        try:
            with self._home.directory(FilePath(self._home.owner, folder.parts)) as opened:
                found = look(name, opened)
        except OSError:
            return None
        if found is None or not (S_ISDIR(found.st_mode) or S_ISREG(found.st_mode)):
            return None
        return S_ISDIR(found.st_mode)

    def _start_again(self) -> Iterator[FileChanged]:
        """Some of what happened was lost: look at everything anew."""
        for number in self._folders:
            host.remove_watch(self._inotify, number)
        self._folders.clear()
        self._leaving = None
        list(self._add(self._top))
        yield FileChanged(str(self.path), Change.MISSED)

    def _tell(self, folder: _Folder, name: str, change: Change, target: Parts | None = None) -> Iterator[FileChanged]:
        if self._only is not None and name != self._only:
            return
        path = str(FilePath(self._home.owner, (*folder.parts, name)))
        yield FileChanged(path, change, str(FilePath(self._home.owner, target)) if target is not None else None)
