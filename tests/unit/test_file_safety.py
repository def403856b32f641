"""Files on the host: what somebody puts there from outside, crashes, a full disk."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from llmos.syscalls.abi.errors import AlreadyExists, InvalidArgument
from llmos.syscalls.abi.files import OpenMode
from tests.unit.file_place import Place

# --- what somebody puts there from outside


def test_links_devices_fifos_and_sockets_are_never_opened_or_shown(place: Place, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    (place.home / "link").symlink_to(secret)
    (place.home / "folder").symlink_to(tmp_path)
    (place.home / "loop").symlink_to("loop")
    os.mkfifo(place.home / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place.home / "sock"))
        for name in ("link", "folder", "loop", "fifo", "sock"):
            for mode in OpenMode:
                with pytest.raises((InvalidArgument, AlreadyExists)):
                    place.open(name, mode)
            with pytest.raises(InvalidArgument):
                place.files.stat(place.path(name))
    for path in ("folder/secret", "folder/x/y"):
        for mode in OpenMode:
            with pytest.raises(InvalidArgument):
                place.open(path, mode)
    assert place.names() == []
    assert secret.read_bytes() == b"secret"


def test_what_has_a_second_name_is_read_and_not_written(place: Place, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"shared")
    os.link(outside, place.home / "a")
    assert place.get("a") == b"shared"
    for mode in ("a", "u"):
        with pytest.raises(InvalidArgument, match="second name"):
            place.open("a", mode)
    place.put("a", b"own")
    assert outside.read_bytes() == b"shared"


def test_a_removal_follows_no_link(place: Place, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_bytes(b"x")
    place.files.make_directory(place.path("d"), parents=False)
    (place.home / "d" / "link").symlink_to(tmp_path / "kept")
    place.files.unlink(place.path("d"), recursive=True)
    assert (tmp_path / "kept" / "file").read_bytes() == b"x"


# --- crashes


def test_after_a_crash_the_count_is_right_and_what_was_not_acknowledged_is_gone(place: Place) -> None:
    place.files.make_directory(place.path("d"), parents=False)
    place.put("d/a", b"one")
    place.put("d/a", b"two!")
    before = place.account()
    file = place.open("d/a", "w")
    file.write(b"never closed")
    place.crash()
    assert (place.account(), place.get("d/a"), place.kept("d/a")) == (before, b"two!", [1])
    assert os.listdir(place.root / ".kept" / "alice" / "temporary") == []
    file.close(discard=True)


def test_what_changed_from_outside_is_counted_at_the_next_start(place: Place) -> None:
    place.put("a", b"one")
    place.put("a", b"two")
    (place.home / "a").unlink()
    (place.home / "b").write_bytes(bytes(10))
    place.crash()
    assert place.account() == (10, 1)


def test_a_crash_between_keeping_and_replacing_keeps_nothing(place: Place) -> None:
    place.put("a", b"one")
    place.put("a", b"two")
    (kept,) = [path for path in (place.root / ".kept/alice/versions").rglob("1") if path.is_file()]
    os.link(place.home / "a", kept.with_name("2"))
    place.crash()
    assert place.kept("a") == [1]
    assert place.files.stat(place.path("a")).version == 2
    place.put("a", b"!", "a")


@pytest.mark.parametrize("happened", [False, True])
@pytest.mark.parametrize("name", ["d", "f"])
def test_a_crash_in_a_renaming_leaves_the_versions_with_the_file(place: Place, name: str, happened: bool) -> None:
    place.files.make_directory(place.path("d"), parents=False)
    for path in ("d/a", "f"):
        place.put(path, b"one")
        place.put(path, b"two")
    place.account()
    if happened:
        (place.home / name).rename(place.home / "new")
    intent = place.root / ".kept" / "alice" / "intent"
    intent.write_text(f'{{"source": ["{name}"], "target": ["new"]}}')
    place.crash()
    where = "new" if happened else name
    assert place.kept("f" if name == "d" else where) == [1]
    assert place.kept(f"{where}/a" if name == "d" else "d/a") == [1]
    assert not intent.exists()


def test_a_tree_deeper_than_any_path_is_removed(place: Place) -> None:
    place.files.make_directory(place.path("d"), parents=False)
    folder = os.open(place.home / "d", os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("x" * 9, dir_fd=folder)
        following = os.open("x" * 9, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = following
    os.close(folder)
    place.files.unlink(place.path("d"), recursive=True)
    assert place.names() == []


_FULL = """
import resource, signal, sys
from pathlib import Path
from llmos.drivers.files.store import HostFiles
from llmos.kernel.ports.files import FilePath
from llmos.syscalls.abi.errors import DeviceError
from llmos.syscalls.abi.files import OpenMode
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
files, path = HostFiles(Path(sys.argv[1])), FilePath("alice", ("a",))
for mode in (OpenMode.WRITE, OpenMode.APPEND):
    file = files.open(path, OpenMode.WRITE).file
    file.write(b"old")
    file.close(discard=False)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    used = files.home("alice").used
    file = files.open(path, mode).file
    try:
        file.write(bytes(5000))
    except DeviceError as error:
        print(error.message)
    file.close(discard=True)
    assert files.home("alice").used == used
    file = files.open(path, OpenMode.READ).file
    assert file.read(9000) == b"old"
"""


def test_a_full_disk_is_told_and_nothing_is_torn(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _FULL, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "/home/alice/a: the disk is full\n" * 2
