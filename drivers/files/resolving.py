"""From the parts of a path to an open directory, without ever following a link or leaving the home.

Two ways with the same outcome: `openat2` in one step, which the kernel of the host guarantees, and one `openat` a part
for hosts without it. It knows no owners. Rule: whoever swaps a directory for a link meanwhile gains nothing; every
later operation is relative to the descriptor.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from llmos.drivers.files.host import open_beneath

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_TRIES = 16
_LONGEST_PATH = 4095


class Resolver(Protocol):
    """Opens directories."""

    def directory(self, root: int, parts: Sequence[str]) -> int:
        """The descriptor of a directory below an open one. Raises `OSError`: `ELOOP` or `ENOTDIR` for a link."""
        ...


class AtOnce:
    """With `openat2`."""

    def directory(self, root: int, parts: Sequence[str]) -> int:
        """As `Resolver` says."""
        path = os.fsencode("/".join(parts) or ".")
        if len(path) <= _LONGEST_PATH:
            for _ in range(_TRIES):
                try:
                    return open_beneath(root, path, os.O_RDONLY | os.O_DIRECTORY)
                except OSError as error:
                    # Something was renamed meanwhile.
                    if error.errno != errno.EAGAIN:
                        raise
        return PartByPart().directory(root, parts)


class PartByPart:
    """With one `openat` a part."""

    def directory(self, root: int, parts: Sequence[str]) -> int:
        """As `Resolver` says."""
        device = os.fstat(root).st_dev
        found = os.open(".", DIRECTORY, dir_fd=root)
        for part in parts:
            try:
                following = os.open(part, DIRECTORY, dir_fd=found)
            finally:
                os.close(found)
            found = following
            if os.fstat(found).st_dev != device:
                os.close(found)
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return found


def best_resolver(root: int) -> Resolver:
    """What the host has."""
    try:
        os.close(open_beneath(root, b".", os.O_RDONLY | os.O_DIRECTORY))
    except OSError:
        return PartByPart()
    return AtOnce()


@contextmanager
def directory(resolver: Resolver, root: int, parts: Sequence[str]) -> Iterator[int]:
    """A directory that is open in a `with` statement."""
    found = resolver.directory(root, parts)
    try:
        yield found
    finally:
        os.close(found)
