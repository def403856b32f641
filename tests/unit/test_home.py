"""The home directory: one daemon, private folders, and pids that never come back."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from llmos.kernel.boot.home import PidAllocator, lock_home, open_home
from llmos.syscalls.abi.errors import Busy, InvalidArgument


def test_the_folders_are_their_owners_alone(tmp_path: Path) -> None:
    home = open_home(tmp_path / "a" / "home")
    for folder in (home.root, home.run, home.keys):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert home.endpoint == f"ipc://{tmp_path}/a/home/run/kernel.sock"


def test_a_second_daemon_is_refused_by_the_firsts_pid(tmp_path: Path) -> None:
    home = open_home(tmp_path)
    lock = lock_home(home)
    with pytest.raises(Busy) as refused:
        lock_home(home)
    assert str(os.getpid()) in refused.value.message
    lock.release()
    lock_home(home).release()


def test_a_path_too_long_for_a_socket_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument) as refused:
        open_home(tmp_path / ("x" * 100))
    assert "107" in refused.value.message
    assert not (tmp_path / ("x" * 100)).exists()


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidArgument):
        open_home(tmp_path / "file")


def test_pids_rise_from_two_and_are_never_given_again(tmp_path: Path) -> None:
    first = PidAllocator(tmp_path / "pids")
    given = [first.allocate() for _ in range(3000)]
    assert given == list(range(2, 3002))
    # As after a crash: nothing was written at the end.
    assert PidAllocator(tmp_path / "pids").allocate() > given[-1]


def test_pids_stay_unique_when_the_daemon_dies_before_it_gives_any(tmp_path: Path) -> None:
    seen = [PidAllocator(tmp_path / "pids").allocate() for _ in range(5)]
    assert len(set(seen)) == 5


@pytest.mark.parametrize("content", ["", "x", "-4", "1", "1.5"])
def test_a_damaged_mark_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "pids").write_text(content)
    with pytest.raises(InvalidArgument):
        PidAllocator(tmp_path / "pids")
