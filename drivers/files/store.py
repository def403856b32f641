"""Files of all owners below one folder of the host (`FileSystem` and `VersionStore`).

It does not know who may do what. Rules: every operation on a name is relative to an open directory that was reached
without following a link; nothing but regular files is opened, and nothing that has a second name is written.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from threading import Lock

from llmos.drivers.files import host, kept, recovery
from llmos.drivers.files.failures import refused, told
from llmos.drivers.files.handles import InPlaceFile, ReadingFile, ReplacingFile
from llmos.drivers.files.home import Bounds, Home
from llmos.drivers.files.layout import DIRECTORY_MODE, FILE_MODE, NEW_FILE, Layout, look, remove_below
from llmos.drivers.files.publishing import (
    REPLACED,
    check_regular,
    copy_to_temporary,
    drop_copy,
    keeping,
    publish,
    stat_of,
)
from llmos.drivers.files.resolving import Resolver, best_resolver
from llmos.drivers.files.undoing import undoing
from llmos.kernel.ports.files import CONTROL, FilePath, Opened
from llmos.syscalls.abi.errors import AlreadyExists, DeviceError, InvalidArgument, NotFound
from llmos.syscalls.abi.files import FileEntries, FileStat, KeptVersion, OpenMode

_PLAIN = os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
REMOVED = "it was removed"


class HostFiles:
    """The files below `root`. All methods are thread-safe and block."""

    def __init__(self, root: Path, bounds: Bounds | None = None, resolver: Resolver | None = None) -> None:
        """Raises `DeviceError` when the folder cannot be used."""
        try:
            self.layout = Layout(root)
        except OSError as error:
            raise DeviceError(f"{root} cannot be used for files: {error.strerror}", "llmosctl doctor") from None
        self.bounds = bounds or Bounds()
        self.resolver = resolver or best_resolver(self.layout.root)
        self._homes: dict[str, Home] = {}
        self._lock = Lock()

    def close(self) -> None:
        """Release the folder; every file must be closed."""
        self.layout.close()

    def home(self, owner: str) -> Home:
        """The home of an owner, in order and counted."""
        with self._lock:
            home = self._homes.get(owner)
            if home is None:
                home = self._homes[owner] = Home(owner, self.layout, self.resolver, self.bounds)
        with home.lock:
            if not home.counted:
                with told(FilePath(owner, ())):
                    recovery.recover(home)
                home.counted = True
        return home

    # --- FileSystem

    def open(self, path: FilePath, mode: OpenMode) -> Opened:
        """As `FileSystem` says."""
        home = self.home(path.owner)
        with told(path), home.lock:
            match mode:
                case OpenMode.READ:
                    return _open_reading(home, path)
                case OpenMode.WRITE | OpenMode.CREATE:
                    return _open_replacing(home, path, mode is OpenMode.CREATE)
                case OpenMode.APPEND | OpenMode.UPDATE:
                    return _open_in_place(home, path, mode is OpenMode.APPEND)

    def stat(self, path: FilePath) -> FileStat:
        """As `FileSystem` says."""
        home = self.home(path.owner)
        with told(path):
            return stat_of(home, path, _found(home, path))

    def list(self, path: FilePath, limit: int, after: str | None) -> FileEntries:
        """As `FileSystem` says. What no path can name, and what is neither file nor directory, is not shown."""
        home = self.home(path.owner)
        with told(path), home.directory(path) as folder:
            names = sorted(name for name in os.listdir(folder) if not CONTROL.search(name))
            entries: list[FileStat] = []
            for name in names:
                if after is not None and name <= after:
                    continue
                found = look(name, folder)
                if found is None or not (S_ISDIR(found.st_mode) or S_ISREG(found.st_mode)):
                    continue
                if len(entries) == limit:
                    return FileEntries(tuple(entries), more=True)
                entries.append(stat_of(home, path.child(name), found))
            return FileEntries(tuple(entries))

    def make_directory(self, path: FilePath, parents: bool) -> FileStat:
        """As `FileSystem` says."""
        home = self.home(path.owner)
        with home.lock:
            if not path.parts:
                if not parents:
                    raise AlreadyExists(f"{path} is there already", "it always is")
                return self.stat(path)
            for length in range(1 if parents else len(path.parts), len(path.parts) + 1):
                part = FilePath(path.owner, path.parts[:length])
                with told(part), home.parent(part) as parent:
                    _make(home, part, parent, may_be_there=parents)
            return self.stat(path)

    def rename(self, path: FilePath, target: FilePath, replace: bool) -> FileStat:
        """As `FileSystem` says."""
        if path.owner != target.owner:
            raise InvalidArgument(f"{path} cannot move to the home of {target.owner}", "copy it, then unlink it")
        _check_no_home(path)
        _check_no_home(target)
        home = self.home(path.owner)
        with home.lock:
            with told(path):
                moving = _found(home, path)
            if path != target:
                _rename(home, path, target, moving, replace)
            with told(target):
                return stat_of(home, target, _found(home, target))

    def unlink(self, path: FilePath, recursive: bool) -> None:
        """As `FileSystem` says."""
        _check_no_home(path)
        home = self.home(path.owner)
        name = self.layout.new_name()
        with home.lock, told(path), home.parent(path) as parent, home.temporary() as trash:
            found = os.stat(path.parts[-1], dir_fd=parent, follow_symlinks=False)
            if S_ISDIR(found.st_mode) and not recursive:
                os.rmdir(path.parts[-1], dir_fd=parent)
                home.enter(-1)
            else:
                os.rename(path.parts[-1], name, src_dir_fd=parent, dst_dir_fd=trash)
            os.fsync(parent)
            home.sever(path, REMOVED)
            is_directory = S_ISDIR(found.st_mode)
            place = kept.place_of_directory(path.parts) if is_directory else kept.place_of_file(path.parts)
            home.used -= recovery.remove_versions(home, place)
        # The rest has no name any more: it may take its time.
        with told(path), home.temporary() as trash:
            removed = remove_below(trash, name, iter(self.layout.new_name, ""))
        with home.lock:
            home.used -= removed.size
            home.entries -= removed.entries

    # --- VersionStore

    def versions(self, path: FilePath) -> Sequence[KeptVersion]:
        """As `VersionStore` says."""
        home = self.home(path.owner)
        with home.lock, told(path):
            check_regular(path, _found(home, path))
            with home.place(path) as folder:
                return tuple(_kept_versions(folder)) if folder is not None else ()

    def restore(self, path: FilePath, version: int) -> FileStat:
        """As `VersionStore` says."""
        home = self.home(path.owner)
        with home.lock, told(path):
            check_regular(path, _found(home, path))
            with home.place(path) as folder:
                source = _open_kept(path, version, folder)
        with told(path):
            try:
                size, name = os.fstat(source).st_size, copy_to_temporary(home, path, source)
            finally:
                os.close(source)
            with home.lock, undoing(lambda: drop_copy(home, path, name, size)):
                return publish(home, name, path, exclusive=False, entered=False)


# --- opening


def _open_reading(home: Home, path: FilePath) -> Opened:
    file = _open_regular(home, path, os.O_RDONLY, writing=False)
    return _opened(home, ReadingFile(home, path, file), path, file)


def _open_in_place(home: Home, path: FilePath, appending: bool) -> Opened:
    if appending and path.parts:
        _create_empty(home, path)
    file = _open_regular(home, path, os.O_RDWR, writing=True)
    handle = InPlaceFile(home, path, file, appending)
    if appending:
        handle.position = os.fstat(file).st_size
    return _opened(home, handle, path, file)


def _opened(home: Home, handle: ReadingFile | InPlaceFile, path: FilePath, file: int) -> Opened:
    home.handles.add(handle)
    return Opened(handle, stat_of(home, path, os.fstat(file)))


def _open_replacing(home: Home, path: FilePath, exclusive: bool) -> Opened:
    if not path.parts:
        raise InvalidArgument(f"{path} is a directory", "name a file in it")
    with home.parent(path) as parent:
        old = look(path.parts[-1], parent)
    if old is not None:
        check_regular(path, old)
        if exclusive:
            raise AlreadyExists(f"{path} is there already", "open it with another mode")
    if old is None:
        home.enter()
    name = home.layout.new_name()
    with undoing(lambda: home.enter(-1) if old is None else None), home.temporary() as temporary:
        file = os.open(name, NEW_FILE, FILE_MODE, dir_fd=temporary)
    handle = ReplacingFile(home, path, file, name, exclusive, entered=old is None)
    home.handles.add(handle)
    # The number that this content will have.
    version = home.held(path).current + (old is not None)
    return Opened(handle, stat_of(home, path, os.fstat(file), version))


def _open_regular(home: Home, path: FilePath, flags: int, writing: bool) -> int:
    """Open what is there, if it is a regular file of this file system, and for writing has this name alone."""
    if not path.parts:
        raise InvalidArgument(f"{path} is a directory", "name a file in it")
    with home.parent(path) as parent:
        check_regular(path, os.stat(path.parts[-1], dir_fd=parent, follow_symlinks=False))
        file = os.open(path.parts[-1], flags | _PLAIN, dir_fd=parent)
        found, device = os.fstat(file), os.fstat(parent).st_dev
    with undoing(lambda: os.close(file)):
        check_regular(path, found)
        if found.st_dev != device:
            raise OSError(errno.EXDEV, "")
        if writing and found.st_nlink != 1:
            raise refused(path, "a file with a second name")
    return file


def _create_empty(home: Home, path: FilePath) -> None:
    with home.parent(path) as parent:
        if look(path.parts[-1], parent) is not None:
            return
        home.enter()
        with undoing(lambda: home.enter(-1)):
            os.close(os.open(path.parts[-1], NEW_FILE | os.O_NONBLOCK, FILE_MODE, dir_fd=parent))
        os.fsync(parent)


# --- names


def _check_no_home(path: FilePath) -> None:
    if not path.parts:
        raise InvalidArgument(f"{path} is a home: it stays", "name something in it")


def _found(home: Home, path: FilePath) -> os.stat_result:
    """What a path names, as a caller may know it. Raises `OSError` and `InvalidArgument`."""
    if not path.parts:
        with home.directory(path) as folder:
            return os.fstat(folder)
    with home.parent(path) as parent:
        found = os.stat(path.parts[-1], dir_fd=parent, follow_symlinks=False)
    if not S_ISDIR(found.st_mode):
        check_regular(path, found)
    return found


def _make(home: Home, path: FilePath, parent: int, may_be_there: bool) -> None:
    found = look(path.parts[-1], parent)
    if found is not None:
        if may_be_there and S_ISDIR(found.st_mode):
            return
        raise AlreadyExists(f"{path} is there already", "choose another name, or remove it first")
    home.enter()
    with undoing(lambda: home.enter(-1)):
        os.mkdir(path.parts[-1], DIRECTORY_MODE, dir_fd=parent)
    os.fsync(parent)


def _rename(home: Home, path: FilePath, target: FilePath, moving: os.stat_result, replace: bool) -> None:
    is_directory = S_ISDIR(moving.st_mode)
    if target.parts[: len(path.parts)] == path.parts:
        raise InvalidArgument(f"{path} cannot move into itself", "choose a target outside of it")
    with told(target), home.parent(path) as source, home.parent(target) as destination:
        old = look(target.parts[-1], destination)
        if old is not None:
            if not replace:
                raise AlreadyExists(f"{target} is there already", "rename with replace, or choose another name")
            check_regular(target, old)
            if is_directory:
                raise AlreadyExists(f"{target} is there already", "a directory replaces nothing: remove it first")
        recovery.write_intent(home, recovery.Intent(path.parts, target.parts))
        with keeping(home, target, destination, old):
            host.rename(path.parts[-1], target.parts[-1], source, destination, replace)
        os.fsync(destination)
        os.fsync(source)
        if old is not None:
            home.enter(-1)
            home.sever(target, REPLACED)
        recovery.move_versions(home, path.parts, target.parts, is_directory)
        recovery.clear_intent(home)
        home.moved(path, target)


# --- versions


def _kept_versions(folder: int) -> Iterator[KeptVersion]:
    for number in reversed(kept.held_in(folder).numbers):
        found = look(str(number), folder)
        if found is not None:
            yield KeptVersion(number, found.st_size, found.st_mtime)


def _open_kept(path: FilePath, version: int, folder: int | None) -> int:
    missing = NotFound(f"{path} has no version {version} that is kept", "llmosctl fs versions lists them")
    if folder is None:
        raise missing
    try:
        file = os.open(str(version), os.O_RDONLY | _PLAIN, dir_fd=folder)
    except FileNotFoundError:
        raise missing from None
    with undoing(lambda: os.close(file)):
        check_regular(path, os.fstat(file))
    return file
