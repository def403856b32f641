"""Small files that are replaced whole: a crash leaves the old one or the new one, and what was said to be there is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from llmos.syscalls.abi.errors import DeviceError


@dataclass(frozen=True, slots=True)
class Stamp:
    """What changes when a file is replaced."""

    modified: int
    size: int
    inode: int


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into a `DeviceError`, which is the caller's to hear."""
    try:
        yield
    except OSError as error:
        raise DeviceError(f"{path} cannot be written: {error.strerror or error}", "llmosctl doctor") from None


def replace_file(path: Path, text: str, mode: int) -> None:
    """Write a file whole; it is on the disk when this returns. Raises `OSError`."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def stamp_of(path: Path) -> Stamp | None:
    """The stamp of a file; None when there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return Stamp(status.st_mtime_ns, status.st_size, status.st_ino)
