"""What the store writes down: one entry for each name, and one note inside every converted model.

Both are written whole or not at all. A converted directory without its note is no model.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import msgspec

from llmos.drivers.models.references import NAME
from llmos.syscalls.abi.errors import DeviceError

CONVERSION = 1
"""Raised when the converter's result changes, so that old conversions are made again."""

NOTE = "llmos-model.json"


class Kind(StrEnum):
    """How a model came into the store."""

    CATALOGUE = "catalogue"
    GGUF = "gguf"
    DIRECTORY = "directory"


class Entry(msgspec.Struct, frozen=True):
    """A name and what it stands for.

    `source` is a package requirement or an absolute path; `sha256` is that of the GGUF file, or a
    directory's fingerprint; `directory` is absolute for `DIRECTORY` and relative to the store otherwise;
    `stamp` tells whether a GGUF file is still the same.
    """

    name: str
    kind: Kind
    source: str
    sha256: str
    directory: str
    stamp: str = ""


class Note(msgspec.Struct, frozen=True):
    """Inside a converted model: what it was made from, and how long its files must be."""

    conversion: int
    sha256: str
    fingerprint: str
    files: dict[str, int]


T = TypeVar("T", Entry, Note)


class Entries:
    """The entries, one file each."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __iter__(self) -> Iterator[Entry]:
        for path in sorted(self._directory.glob("*.json")):
            if (entry := read_record(path, Entry)) is not None:
                yield entry

    def get(self, name: str) -> Entry | None:
        """The entry of a name."""
        return read_record(self._path(name), Entry)

    def put(self, entry: Entry) -> None:
        """Add or replace an entry; it is durable when this returns."""
        self._directory.mkdir(parents=True, exist_ok=True)
        write_record(self._path(entry.name), entry)

    def discard(self, name: str) -> None:
        """Forget a name."""
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        if NAME.fullmatch(name) is None:
            raise ValueError(f"not a model name: {name!r}")
        return self._directory / f"{name}.json"


def read_record(path: Path, kind: type[T]) -> T | None:
    """A record, or None when it is not there. Raises `DeviceError` when it is damaged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DeviceError(
            f"the model record {path} is damaged: {error}", "delete it, and pull the model again"
        ) from error


def write_record(path: Path, record: Entry | Note) -> None:
    """Write a record in one stroke."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with fresh.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(record)) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
