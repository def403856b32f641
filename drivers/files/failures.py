"""From what the host's file system says to what a caller is told. Host paths are in none of it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from llmos.kernel.ports.files import FilePath
from llmos.syscalls.abi.errors import AlreadyExists, DeviceError, Error, InvalidArgument, NotFound, TryAgain

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def told(path: FilePath) -> Iterator[None]:
    """Turn an error of the host about a path into the caller's."""
    try:
        yield
    except OSError as error:
        raise failure(path, error) from None


def failure(path: FilePath, error: OSError) -> Error:
    """What a caller is told."""
    match error.errno:
        case errno.ENOENT:
            return NotFound(f"{path} does not exist", "llmosctl fs ls shows what does")
        case errno.EEXIST:
            return AlreadyExists(f"{path} is there already", "choose another name, or remove it first")
        case errno.ELOOP:
            return refused(path, "a link")
        case errno.EXDEV:
            return refused(path, "on another file system")
        case errno.ENOTDIR:
            return InvalidArgument(f"a part of {path} is no directory", "llmosctl fs stat says what it is")
        case errno.EISDIR:
            return InvalidArgument(f"{path} is a directory", "name a file in it")
        case errno.ENOTEMPTY:
            return InvalidArgument(f"the directory {path} is not empty", "remove it with recursive, or what is in it")
        case errno.ENAMETOOLONG:
            return InvalidArgument(f"{str(path)[:80]}... is too long for the host", "shorter names")
        case errno.EMFILE | errno.ENFILE:
            return TryAgain("too many files are open", "close some")
        case code if code in _FULL:
            return DeviceError(f"{path}: the disk is full", "make room on the disk of the home directory")
        case _:
            return DeviceError(f"{path}: the host says: {error.strerror}", "llmosctl doctor")


def refused(path: FilePath, what: str) -> InvalidArgument:
    """Something in the way that is never opened or followed."""
    return InvalidArgument(f"{path} is {what}, or behind one: that is never opened", "only files and directories are")
