"""Contents and versions of files on the host."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from llmos.drivers.files.home import Bounds
from llmos.drivers.files.resolving import AtOnce
from llmos.drivers.files.store import HostFiles
from llmos.kernel.ports.files import FilePath
from llmos.syscalls.abi.errors import AlreadyExists, InvalidArgument, LimitExceeded, NotFound, TryAgain
from llmos.syscalls.abi.files import OpenMode, Whence
from tests.unit.file_place import Place

# --- contents


def test_a_new_content_is_there_at_close_and_not_before(place: Place) -> None:
    place.put("a", b"old")
    file = place.open("a", "w")
    file.write(b"new")
    assert place.get("a") == b"old"
    assert file.close(discard=False).version == 2
    assert place.get("a") == b"new"
    assert (place.home / "a").stat().st_mode & 0o777 == 0o600


def test_a_large_content_takes_no_more_of_the_disk_than_it_has(tmp_path: Path) -> None:
    files, path = HostFiles(tmp_path), FilePath("alice", ("a",))
    file, piece = files.open(path, OpenMode.WRITE).file, os.urandom(1 << 20)
    for _ in range(9):
        file.write(piece)
    assert file.close(discard=False).size == 9 << 20
    found = (tmp_path / "alice" / "a").stat()
    assert found.st_blocks * 512 <= found.st_size + (1 << 17)
    assert (tmp_path / "alice" / "a").read_bytes() == piece * 9
    files.close()


def test_a_long_content_leaves_the_host_its_memory_while_it_is_written(tmp_path: Path) -> None:
    files, path = HostFiles(tmp_path), FilePath("alice", ("a",))
    file, rest = files.open(path, OpenMode.WRITE).file, os.urandom((1 << 20) - 4)
    for number in range(100):
        file.write(number.to_bytes(4, "big") + rest)
    file.close(discard=False)
    with (tmp_path / "alice" / "a").open("rb") as content:
        if not _in_memory_always(tmp_path):
            assert not _cached(content.fileno(), at=66 << 20)
        assert _cached(content.fileno(), at=0)
        assert all(content.read(1 << 20) == number.to_bytes(4, "big") + rest for number in range(100))
    files.close()


def _cached(file: int, at: int) -> bool:
    """Whether the host has a page of a file in memory, without reading it from the disk."""
    try:
        return os.preadv(file, [bytearray(1)], at, os.RWF_NOWAIT) == 1
    except BlockingIOError:
        return False


def _in_memory_always(path: Path) -> bool:
    return any(
        one.fstype == "tmpfs" and path.is_relative_to(one.mountpoint) for one in psutil.disk_partitions(all=True)
    )


def test_a_discarded_content_leaves_the_old_one_and_nothing_else(place: Place) -> None:
    place.put("a", b"old")
    before = place.account()
    for path, mode in (("a", "w"), ("b", "w"), ("c", "x")):
        file = place.open(path, mode)
        file.write(b"new")
        file.close(discard=True)
    assert (place.names(), place.get("a"), place.account()) == (["a"], b"old", before)
    assert os.listdir(place.root / ".kept" / "alice" / "temporary") == []


def test_x_makes_only_what_is_not_there(place: Place) -> None:
    first, second = place.open("a", "x"), place.open("a", "x")
    first.write(b"1")
    second.write(b"22")
    first.close(discard=False)
    with pytest.raises(AlreadyExists):
        second.close(discard=False)
    with pytest.raises(AlreadyExists):
        place.open("a", "x")
    assert place.get("a") == b"1"
    assert place.account() == (1, 1)


def test_appending_goes_to_the_end_and_keeps_no_version(place: Place) -> None:
    place.put("log", b"one", "a")
    file = place.open("log", "a")
    file.seek(0, Whence.START)
    assert file.write(b"+two") == 7
    file.close(discard=False)
    assert place.get("log") == b"one+two"
    assert place.kept("log") == []


def test_updating_in_place_keeps_what_was_there_once_an_open(place: Place) -> None:
    place.put("a", b"0123456789")
    file = place.open("a", "u")
    file.seek(2, Whence.START)
    file.write(b"AB")
    file.seek(-1, Whence.END)
    file.write(b"ZZ")
    assert file.seek(0, Whence.START) == 0
    assert file.read(100) == b"01AB45678ZZ"
    assert file.close(discard=False).version == 2
    assert place.kept("a") == [1]
    place.files.restore(place.path("a"), 1)
    assert place.get("a") == b"0123456789"


def test_what_is_open_in_place_is_not_written_once_it_was_replaced_or_removed(place: Place) -> None:
    place.put("a", b"first")
    file = place.open("a", "u")
    place.put("a", b"second")
    with pytest.raises(TryAgain, match="replaced"):
        file.write(b"X")
    file.close(discard=False)
    other = place.open("a", "a")
    place.files.unlink(place.path("a"), recursive=False)
    with pytest.raises(TryAgain, match="removed"):
        other.write(b"X")
    other.close(discard=False)
    assert place.account() == (0, 0)


def test_whoever_reads_goes_on_with_what_was_opened(place: Place) -> None:
    place.put("a", b"first")
    file = place.open("a")
    place.put("a", b"second")
    place.files.unlink(place.path("a"), recursive=False)
    assert file.read(2) == b"fi"
    assert file.seek(-2, Whence.CURRENT) == 0
    assert file.read(100) == b"first"
    assert file.read(100) == b""
    file.close(discard=False)


def test_a_hole_reads_as_zeros_and_counts(place: Place) -> None:
    place.put("a", b"x")
    file = place.open("a", "u")
    file.seek(10, Whence.START)
    file.write(b"y")
    file.close(discard=False)
    assert place.get("a") == b"x" + bytes(9) + b"y"
    assert place.account() == (12, 1)


@pytest.mark.parametrize(("mode", "attempt"), [("w", "read"), ("a", "read"), ("r", "write")])
def test_a_mode_does_what_it_says_and_nothing_else(place: Place, mode: str, attempt: str) -> None:
    place.put("a", b"x")
    file = place.open("a", mode)
    with pytest.raises(InvalidArgument, match="/home/alice/a is open for"):
        file.read(1) if attempt == "read" else file.write(b"x")
    file.close(discard=True)


@pytest.mark.parametrize(("offset", "whence"), [(-1, Whence.START), (-3, Whence.END), (1 << 53, Whence.CURRENT)])
def test_a_position_that_cannot_be_is_refused(place: Place, offset: int, whence: Whence) -> None:
    place.put("a", b"xy")
    file = place.open("a")
    with pytest.raises(InvalidArgument, match="position"):
        file.seek(offset, whence)
    assert file.seek(0, Whence.CURRENT) == 0
    file.close(discard=False)


# --- versions


def test_versions_are_bounded_counted_and_go_when_the_file_goes(place: Place) -> None:
    for number in range(1, 6):
        assert place.put("a", b"x" * number).version == number
    assert place.kept("a") == [4, 3, 2]
    assert place.account() == (5 + 4 + 3 + 2, 1)
    place.files.unlink(place.path("a"), recursive=False)
    assert place.account() == (0, 0)
    assert place.put("a", b"").version == 1


def test_restoring_is_a_new_version_and_the_present_one_is_kept(place: Place) -> None:
    for text in (b"one", b"two", b"three"):
        place.put("a", text)
    assert place.files.restore(place.path("a"), 1).version == 4
    assert place.get("a") == b"one"
    assert place.kept("a") == [3, 2, 1]
    with pytest.raises(NotFound, match="no version 9"):
        place.files.restore(place.path("a"), 9)


def test_renaming_carries_versions_of_files_and_of_all_below_a_directory(place: Place) -> None:
    place.files.make_directory(place.path("d/e"), parents=True)
    place.put("d/e/a", b"one")
    place.put("d/e/a", b"two")
    place.files.rename(place.path("d"), place.path("z"), replace=False)
    assert place.kept("z/e/a") == [1]
    assert place.files.rename(place.path("z/e/a"), place.path("b"), replace=False).version == 2
    assert place.kept("b") == [1]
    place.put("z/e/a", b"")
    assert place.kept("z/e/a") == []


def test_a_file_that_a_renaming_replaces_is_kept(place: Place) -> None:
    place.put("a", b"old")
    place.put("b", b"new 1")
    place.put("b", b"new 2")
    with pytest.raises(AlreadyExists):
        place.files.rename(place.path("b"), place.path("a"), replace=False)
    place.files.rename(place.path("b"), place.path("a"), replace=True)
    assert (place.names(), place.get("a")) == (["a"], b"new 2")
    assert [one.size for one in place.files.versions(place.path("a"))] == [5, 3]
    assert place.account() == (5 + 5 + 3, 1)


def test_old_contents_make_room_for_new_ones_of_the_same_file(place: Place) -> None:
    for _ in range(4):
        place.put("a", bytes(300))
    assert place.account()[0] <= 1000
    assert place.files.stat(place.path("a")).version == 4
    with pytest.raises(LimitExceeded, match=r"files\.quota is 1000"):
        place.put("b", bytes(900))
    assert place.names() == ["a"]


def test_without_versions_contents_are_counted_all_the_same(tmp_path: Path) -> None:
    place = Place(tmp_path, HostFiles(tmp_path, Bounds(versions=0)), AtOnce())
    for number in range(1, 4):
        assert place.put("a", b"x").version == number
    assert place.kept("a") == []
    assert place.account() == (1, 1)
    place.files.close()
