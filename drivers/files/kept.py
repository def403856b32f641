"""Older contents of the files of one owner: where they are, and which there are.

The versions of the file `a/b` are files named by their numbers in a folder whose place is made from the parts of the
path, each as a digest: so a renamed directory takes the versions of everything below it along with one renaming. It
knows no accounts. Rules:

- The present content has the number after the highest that was ever kept. A file named `=N` says that N was the
  highest, when nothing of it is left.
- Nothing here is opened by a name that a user has chosen.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from stat import S_ISREG

from llmos.drivers.files.layout import FILE_MODE, NEW_FILE, look, make_directory
from llmos.drivers.files.resolving import DIRECTORY

_MARK = "="

Place = tuple[str, ...]
"""Names of folders below the owner's versions."""


@dataclass(frozen=True, slots=True)
class Held:
    """What is kept of one file: numbers, rising, and the highest that ever was."""

    numbers: tuple[int, ...] = ()
    highest: int = 0

    @property
    def current(self) -> int:
        """The number of the present content."""
        return self.highest + 1


NONE_HELD = Held()


def place_of_file(parts: Sequence[str]) -> Place:
    """Where the versions of a file are."""
    return (*place_of_directory(parts[:-1]), f"f{_digest(parts[-1])}")


def place_of_directory(parts: Sequence[str]) -> Place:
    """Where the versions of all that is in a directory are."""
    return tuple(f"d{_digest(part)}" for part in parts)


def open_place(root: int, place: Place, make: bool = False) -> int | None:
    """The descriptor of a place; None when it is not there."""
    found = os.open(".", DIRECTORY, dir_fd=root)
    for name in place:
        try:
            if make:
                make_directory(found, name)
            following = os.open(name, DIRECTORY, dir_fd=found)
        except FileNotFoundError:
            return None
        finally:
            os.close(found)
        found = following
    return found


def held_at(root: int, place: Place) -> Held:
    """What is kept at a place."""
    folder = open_place(root, place)
    if folder is None:
        return NONE_HELD
    try:
        return held_in(folder)
    finally:
        os.close(folder)


def held_in(folder: int) -> Held:
    """What is kept in an open place."""
    names = os.listdir(folder)
    numbers = tuple(sorted(int(name) for name in names if name.isdecimal()))
    marks = [int(name[1:]) for name in names if name.startswith(_MARK) and name[1:].isdecimal()]
    return Held(numbers, max((*numbers, *marks), default=0))


def drop(folder: int, numbers: Iterable[int]) -> int:
    """Remove some of what is kept; the bytes that are free now. The count of contents goes on."""
    held, size = held_in(folder), 0
    gone = set(numbers)
    if held.numbers and gone.issuperset(held.numbers):
        mark(folder, held.highest)
    for number in sorted(gone):
        found = look(str(number), folder)
        if found is not None:
            os.unlink(str(number), dir_fd=folder)
            size += found.st_size
    return size


def mark(folder: int, highest: int) -> None:
    """Remember that there has been this number."""
    name = f"{_MARK}{highest}"
    if look(name, folder) is None:
        os.close(os.open(name, NEW_FILE, FILE_MODE, dir_fd=folder))
    for other in os.listdir(folder):
        if other.startswith(_MARK) and other != name:
            os.unlink(other, dir_fd=folder)


def size_in(folder: int) -> int:
    """Bytes of all that is kept in an open place."""
    found = (look(str(number), folder) for number in held_in(folder).numbers)
    return sum(one.st_size for one in found if one is not None and S_ISREG(one.st_mode))


def _digest(name: str) -> str:
    return blake2b(os.fsencode(name), digest_size=16).hexdigest()
