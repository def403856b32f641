"""Somebody swaps a directory for a link while it is opened: nothing outside is ever reached."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from llmos.drivers.files.resolving import AtOnce, PartByPart, Resolver
from llmos.drivers.files.store import HostFiles
from llmos.kernel.ports.files import FilePath
from llmos.syscalls.abi.errors import Error
from llmos.syscalls.abi.files import OpenMode

ROUNDS = 1500
SECRET = FilePath("alice", ("d", "inner", "file"))


@contextmanager
def swapping(home: Path, outside: Path) -> Iterator[None]:
    """`d` is a directory, a link, and nothing, in turns."""
    ended = threading.Event()
    link = home.parent / "link"

    def run() -> None:
        while not ended.is_set():
            (home / "d").rename(home.parent / "aside")
            link.symlink_to(outside)
            link.rename(home / "d")
            (home / "d").unlink()
            (home.parent / "aside").rename(home / "d")

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("resolver", [AtOnce(), PartByPart()], ids=["openat2", "openat"])
def test_a_directory_that_is_swapped_for_a_link_leads_nowhere(tmp_path: Path, resolver: Resolver) -> None:
    files = HostFiles(tmp_path / "files", resolver=resolver)
    files.make_directory(FilePath("alice", ("d", "inner")), parents=True)
    home = tmp_path / "files" / "alice"
    (home / "d" / "inner" / "file").write_bytes(b"inside")
    (tmp_path / "outside" / "inner").mkdir(parents=True)
    (tmp_path / "outside" / "inner" / "file").write_bytes(b"outside")
    found = set[bytes]()
    with swapping(home, tmp_path / "outside"):
        for _ in range(ROUNDS):
            for attempt in (_read, _replace, _remove):
                try:
                    found.add(attempt(files))
                except Error:
                    continue
    assert b"outside" not in found
    assert os.listdir(tmp_path / "outside" / "inner") == ["file"]
    assert (tmp_path / "outside" / "inner" / "file").read_bytes() == b"outside"
    files.close()


def _read(files: HostFiles) -> bytes:
    file = files.open(SECRET, OpenMode.READ).file
    try:
        return file.read(100)
    finally:
        file.close(discard=False)


def _replace(files: HostFiles) -> bytes:
    file = files.open(SECRET, OpenMode.WRITE).file
    file.write(b"inside")
    file.close(discard=False)
    return b"replaced"


def _remove(files: HostFiles) -> bytes:
    files.unlink(FilePath("alice", ("d", "inner", "nothing")), recursive=True)
    return b"removed"
