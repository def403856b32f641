"""Where files are on the disk, and the few ways to open and remove there.

`ROOT/OWNER` is what users can name. `ROOT/.kept/OWNER` they cannot, because no owner's name begins with a dot:
`temporary` for contents that are being written and for what is being removed, `versions` for older contents, `intent`
for a renaming that is under way. It knows no accounts. Rule: all in one file system, so that everything moves by
renaming.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from llmos.drivers.files.resolving import DIRECTORY

FILE_MODE, DIRECTORY_MODE = 0o600, 0o700
KEPT = ".kept"
TEMPORARY, VERSIONS, INTENT = "temporary", "versions", "intent"
NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Removed:
    """What a removal has freed: bytes of regular files, and how many files and directories."""

    size: int = 0
    entries: int = 0


class Layout:
    """The folders under one root."""

    def __init__(self, root: Path) -> None:
        """Make what is missing. Raises `OSError`."""
        root.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        self.root = os.open(root, DIRECTORY)
        make_directory(self.root, KEPT)
        self._kept = os.open(KEPT, DIRECTORY, dir_fd=self.root)
        self._names = count(1)

    def close(self) -> None:
        """Release the root."""
        os.close(self.root)
        os.close(self._kept)

    def make(self, owner: str) -> None:
        """Make the folders of an owner."""
        make_directory(self.root, owner)
        make_directory(self._kept, owner)
        with opened(self._kept, owner) as own:
            make_directory(own, TEMPORARY)
            make_directory(own, VERSIONS)

    def home(self, owner: str) -> int:
        """A descriptor of the owner's home; whoever asks closes it."""
        return os.open(owner, DIRECTORY, dir_fd=self.root)

    @contextmanager
    def kept(self, owner: str, folder: str = "") -> Iterator[int]:
        """The owner's hidden folder, or one in it."""
        with opened(self._kept, f"{owner}/{folder}".rstrip("/")) as found:
            yield found

    def new_name(self) -> str:
        """A name that nothing temporary has."""
        return str(next(self._names))


@contextmanager
def opened(folder: int, name: str) -> Iterator[int]:
    """A directory in another, in a `with` statement."""
    found = os.open(name, DIRECTORY, dir_fd=folder)
    try:
        yield found
    finally:
        os.close(found)


def make_directory(folder: int, name: str) -> None:
    """Make a directory unless it is there, for good."""
    try:
        os.mkdir(name, DIRECTORY_MODE, dir_fd=folder)
    except FileExistsError:
        return
    os.fsync(folder)


def look(name: str, folder: int) -> os.stat_result | None:
    """What has a name, links not followed; None when nothing has."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def remove_below(trash: int, name: str, new_name: Iterator[str]) -> Removed:
    """Remove a file or a whole tree out of a directory that nobody else uses, however deep it is: what is nested moves
    up first.
    """
    size = entries = 0
    waiting = deque([name])
    while waiting:
        name = waiting.popleft()
        found = look(name, trash)
        if found is None:
            continue
        entries += S_ISDIR(found.st_mode) or S_ISREG(found.st_mode)
        if not S_ISDIR(found.st_mode):
            size += found.st_size if S_ISREG(found.st_mode) else 0
            os.unlink(name, dir_fd=trash)
            continue
        with opened(trash, name) as folder:
            for child in os.listdir(folder):
                moved = f"r{next(new_name)}"
                os.rename(child, moved, src_dir_fd=folder, dst_dir_fd=trash)
                waiting.append(moved)
        os.rmdir(name, dir_fd=trash)
    return Removed(size, entries)
