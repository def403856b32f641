"""The files of a test, and where they are on the host; over either way of reaching a directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llmos.drivers.files.home import Bounds
from llmos.drivers.files.resolving import Resolver
from llmos.drivers.files.store import HostFiles
from llmos.kernel.ports.files import FilePath, OpenFile
from llmos.kernel.security.names import file_path
from llmos.syscalls.abi.files import FileStat, OpenMode

BOUNDS = Bounds(versions=3, quota=1000, files=12)


@dataclass(slots=True)
class Place:
    """The files of a test, and where they are on the host."""

    root: Path
    files: HostFiles
    resolver: Resolver

    @property
    def home(self) -> Path:
        self.files.home("alice")
        return self.root / "alice"

    def path(self, text: str) -> FilePath:
        return file_path(text, "alice")

    def open(self, path: str, mode: str = "r") -> OpenFile:
        return self.files.open(self.path(path), OpenMode(mode)).file

    def put(self, path: str, data: bytes, mode: str = "w") -> FileStat:
        file = self.open(path, mode)
        try:
            file.write(data)
        except BaseException:
            file.close(discard=True)
            raise
        return file.close(discard=False)

    def get(self, path: str) -> bytes:
        file = self.open(path)
        data = file.read(1 << 20)
        file.close(discard=False)
        return data

    def names(self, path: str = "") -> list[str]:
        entries = self.files.list(self.path(path), 1000, None).entries
        return [entry.path.rpartition("/")[2] for entry in entries]

    def kept(self, path: str) -> list[int]:
        return [one.version for one in self.files.versions(self.path(path))]

    def account(self) -> tuple[int, int]:
        home = self.files.home("alice")
        return home.used, home.entries

    def crash(self) -> None:
        """What is in memory is gone; a new daemon finds what is on the disk."""
        self.files.close()
        self.files = HostFiles(self.root, self.files.bounds, self.resolver)


def new_place(resolver: Resolver, tmp_path: Path) -> Iterator[Place]:
    """A place, after which no descriptor may be left."""
    before = len(os.listdir("/proc/self/fd"))
    made = Place(tmp_path / "files", HostFiles(tmp_path / "files", BOUNDS, resolver), resolver)
    yield made
    made.files.close()
    assert len(os.listdir("/proc/self/fd")) == before, "a descriptor was left"
