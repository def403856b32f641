"""How a content takes the place of another, at once and for good, and the other is kept.

It does not know who wrote what. The home's lock is held, but not while contents are copied. Rule: at every moment, and
after a crash at any, the name has the whole old content or the whole new one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from stat import S_ISDIR, S_ISREG

from llmos.drivers.files import host, kept
from llmos.drivers.files.failures import refused
from llmos.drivers.files.home import Home
from llmos.drivers.files.layout import FILE_MODE, NEW_FILE, look
from llmos.drivers.files.undoing import undoing
from llmos.kernel.ports.files import FilePath
from llmos.syscalls.abi.errors import AlreadyExists, InvalidArgument
from llmos.syscalls.abi.files import FileKind, FileStat

REPLACED = "its content was replaced"
_COPY = 1 << 20


def publish(home: Home, name: str, path: FilePath, exclusive: bool, entered: bool) -> FileStat:
    """Give a path the temporary file `name`, which is on the disk. `entered`: a new file was counted already."""
    with home.parent(path) as parent, home.temporary() as temporary:
        old = look(path.parts[-1], parent)
        if old is not None:
            check_regular(path, old)
            if exclusive:
                raise AlreadyExists(f"{path} is there already", "open it with another mode")
        if old is None and not entered:
            home.enter()
        with keeping(home, path, parent, old):
            host.rename(name, path.parts[-1], temporary, parent, replace=not exclusive)
        os.fsync(parent)
        if old is not None and entered:
            home.enter(-1)
        home.sever(path, REPLACED)
        return stat_of(home, path, os.stat(path.parts[-1], dir_fd=parent, follow_symlinks=False))


@contextmanager
def keeping(home: Home, path: FilePath, parent: int, old: os.stat_result | None) -> Iterator[None]:
    """Keep the present content, which is replaced inside; if it is not, or a crash comes first, nothing of this
    stays.
    """
    if old is None:
        yield
        return
    with _made_place(home, path) as folder:
        number, name = kept.held_in(folder).current, path.parts[-1]
        os.link(name, str(number), src_dir_fd=parent, dst_dir_fd=folder, follow_symlinks=False)
        os.fsync(folder)
        with undoing(lambda: os.unlink(str(number), dir_fd=folder)):
            yield
        _drop_oldest(home, folder)


def place_copy(home: Home, path: FilePath, name: str, old: os.stat_result) -> None:
    """Keep a temporary copy of a content that is about to be changed in place; `old` is its file."""
    with home.temporary() as temporary, _made_place(home, path) as folder:
        os.utime(name, ns=(old.st_atime_ns, old.st_mtime_ns), dir_fd=temporary)
        os.rename(name, str(kept.held_in(folder).current), src_dir_fd=temporary, dst_dir_fd=folder)
        os.fsync(folder)
        _drop_oldest(home, folder)


def drop_copy(home: Home, path: FilePath, name: str, size: int) -> None:
    """A temporary copy is not needed after all."""
    with home.temporary() as temporary:
        try:
            os.unlink(name, dir_fd=temporary)
        except FileNotFoundError:
            return  # it has its place, and the disk failed after that
    home.grow(path, -size)


def copy_to_temporary(home: Home, path: FilePath, source: int) -> str:
    """The name of a temporary copy of an open file, on the disk and counted. Raises `LimitExceeded`."""
    found, name = os.fstat(source), home.layout.new_name()
    home.grow(path, found.st_size)
    with undoing(lambda: home.grow(path, -found.st_size)), home.temporary() as temporary:
        file = os.open(name, NEW_FILE, FILE_MODE, dir_fd=temporary)
        try:
            with undoing(lambda: os.unlink(name, dir_fd=temporary)):
                _copy(source, file, found.st_size)
                os.fsync(file)
        finally:
            os.close(file)
    return name


def check_regular(path: FilePath, found: os.stat_result) -> None:
    """Raise what is wrong with something that should be a file."""
    if S_ISDIR(found.st_mode):
        raise InvalidArgument(f"{path} is a directory", "name a file in it")
    if not S_ISREG(found.st_mode):
        raise refused(path, "a link or a device")


def stat_of(home: Home, path: FilePath, found: os.stat_result, version: int | None = None) -> FileStat:
    """What a caller is told about a file or directory."""
    if S_ISDIR(found.st_mode):
        return FileStat(str(path), FileKind.DIRECTORY, 0, found.st_mtime)
    check_regular(path, found)
    return FileStat(
        path=str(path),
        kind=FileKind.FILE,
        size=found.st_size,
        modified=found.st_mtime,
        version=version if version is not None else home.held(path).current,
    )


@contextmanager
def _made_place(home: Home, path: FilePath) -> Iterator[int]:
    with home.place(path, make=True) as folder:
        if folder is None:
            raise AssertionError("a folder that was just made")
        yield folder


def _drop_oldest(home: Home, folder: int) -> None:
    numbers = kept.held_in(folder).numbers
    home.used -= kept.drop(folder, numbers[: max(0, len(numbers) - home.bounds.versions)])


def _copy(source: int, target: int, size: int) -> None:
    done = 0
    while done < size and (moved := _copy_some(source, target, done, size - done)):
        done += moved


def _copy_some(source: int, target: int, offset: int, size: int) -> int:
    """In the kernel of the host, which shares the blocks where it can; else through memory."""
    try:
        return os.copy_file_range(source, target, size, offset, offset)
    except OSError:
        return os.pwrite(target, os.pread(source, min(size, _COPY), offset), offset)
