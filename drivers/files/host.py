"""System calls of Linux that Python has no names for: openat2, renameat2, fallocate that keeps the size,
sync_file_range, and inotify.

Rule: what fails raises `OSError` with its number, as the functions of `os` do.
"""

from __future__ import annotations

import ctypes
import os
import struct

_OPENAT2, _RENAMEAT2 = (
    437,
    {"x86_64": 316, "aarch64": 276, "riscv64": 276, "ppc64le": 357, "s390x": 347, "armv7l": 382, "i686": 353},
)
_NO_XDEV, _NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x01, 0x02, 0x04, 0x08
_HOW = struct.Struct("=QQQ")
_NOREPLACE = 1
_KEEP_SIZE = 1
_WAIT_BEFORE, _WRITE, _WAIT_AFTER = 1, 2, 4

_libc = ctypes.CDLL(None, use_errno=True)


def open_beneath(root: int, path: bytes, flags: int) -> int:
    """Open a path below a directory: no links, no way out, no other file system (openat2, Linux 5.6)."""
    how = _HOW.pack(flags | os.O_CLOEXEC, 0, _BENEATH | _NO_SYMLINKS | _NO_MAGICLINKS | _NO_XDEV)
    return _checked(_libc.syscall(_OPENAT2, root, path, how, ctypes.c_size_t(_HOW.size)))


def rename(name: str, target: str, source: int, destination: int, replace: bool) -> None:
    """Rename between two directories; without `replace` what is there stays, and that is `EEXIST`."""
    if replace:
        os.rename(name, target, src_dir_fd=source, dst_dir_fd=destination)
        return
    number = _RENAMEAT2[os.uname().machine]
    flags = ctypes.c_uint(_NOREPLACE)
    _checked(_libc.syscall(number, source, os.fsencode(name), destination, os.fsencode(target), flags))


def reserve(file: int, start: int, size: int) -> None:
    """Give a file room on the disk from `start` on; its size stays, and `ftruncate` gives back what is behind it."""
    _checked(_libc.fallocate(file, _KEEP_SIZE, ctypes.c_int64(start), ctypes.c_int64(size)))


def begin_writing(file: int, start: int, size: int) -> None:
    """Let the disk begin with what was written there; nothing is waited for, and nothing is promised."""
    _sync_range(file, start, size, _WRITE)


def drop_written(file: int, start: int, size: int) -> None:
    """Wait until the disk has what was written there, and give its memory back."""
    _sync_range(file, start, size, _WAIT_BEFORE | _WRITE | _WAIT_AFTER)
    os.posix_fadvise(file, start, size, os.POSIX_FADV_DONTNEED)


def _sync_range(file: int, start: int, size: int, flags: int) -> None:
    _checked(_libc.sync_file_range(file, ctypes.c_int64(start), ctypes.c_int64(size), ctypes.c_uint(flags)))


def new_inotify() -> int:
    """A descriptor that tells changes; reading never blocks."""
    return _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))


def add_watch(inotify: int, directory: int, mask: int) -> int:
    """Watch an open directory; the number that its events have."""
    return _checked(_libc.inotify_add_watch(inotify, b"/proc/self/fd/%d" % directory, ctypes.c_uint32(mask)))


def remove_watch(inotify: int, number: int) -> None:
    """Watch a directory no more."""
    _libc.inotify_rm_watch(inotify, number)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
