"""The daemon around a service that does nothing: ready line, exit statuses, one daemon a home, nothing left."""

from __future__ import annotations

import os
import signal
import stat
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from llmos.kernel.boot import daemon
from llmos.kernel.boot.daemon import Options, parse, run
from llmos.kernel.boot.home import lock_home, open_home
from llmos.kernel.boot.security import Security
from llmos.kernel.boot.service import Boot
from llmos.kernel.core.authority import Authorized
from llmos.kernel.gate.channel import Channel
from llmos.kernel.security.names import FilePath
from llmos.kernel.security.objects import Owner
from llmos.syscalls.abi.errors import NotFound
from llmos.syscalls.abi.table import Call
from llmos.syscalls.abi.words import Pid, Record


@pytest.fixture(scope="module", autouse=True)
def _the_loops_own_descriptors() -> None:
    """The first loop of a process makes a pipe for signals that stays as long as the process."""
    daemon.new_loop().close()


@dataclass
class Nothing:
    """A service that is stopped as soon as it starts, in one of several ways."""

    boot: Boot
    end: str
    seen: list[str] = field(default_factory=list)

    default_model: str = "small"
    default_encoder: str = "minilm"

    def owner_of(self, pid: Pid) -> Owner | None:
        return None

    def mailbox_of(self, pid: Pid) -> Owner | None:
        return self.owner_of(pid)

    def file_of(self, descriptor: int) -> FilePath | None:
        return None

    def begin(self, security: Security) -> None:
        self.boot.serving()
        self.seen.append(f"{stat.S_IMODE((self.boot.home.run / 'kernel.sock').stat().st_mode):o}")
        match self.end:
            case "stop":
                self.boot.loop.call_soon(self.boot.stop, 0)
            case "bug":
                self.boot.loop.call_soon(lambda: 1 // 0)
            case name:
                self.boot.loop.call_soon(os.kill, os.getpid(), signal.Signals[name])

    def dispatch(self, authorized: Authorized, call: Call, request: Record, channel: Channel) -> None:
        raise AssertionError(call)

    def close(self) -> None:
        self.seen.append("closed")


@dataclass
class Maker:
    """Makes the service, and keeps it to look at."""

    end: str = "stop"
    made: list[Nothing] = field(default_factory=list)

    def assemble(self, boot: Boot) -> Nothing:
        self.made.append(Nothing(boot, self.end))
        return self.made[-1]


def options(home: Path, *settings: str, ready: int | None = None) -> Options:
    return Options(home, None, settings, ready)


@pytest.mark.parametrize(("end", "status"), [("stop", 0), ("SIGTERM", 0), ("SIGINT", 0), ("bug", 70)])
def test_the_daemon_serves_says_so_and_leaves_nothing(tmp_path: Path, end: str, status: int) -> None:
    before, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    reader, writer = os.pipe()
    maker = Maker(end)
    assert run(options(tmp_path, ready=writer), maker.assemble) == status
    assert os.read(reader, 100) == b"ready\n"
    assert os.read(reader, 100) == b""
    os.close(reader)
    assert maker.made[0].seen == ["600", "closed"]
    assert not (tmp_path / "run" / "kernel.sock").exists()
    assert (tmp_path / "keys" / "admin.key").exists()
    assert len(os.listdir("/proc/self/fd")) == before
    assert threading.active_count() == threads


def test_a_second_daemon_on_a_home_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock = lock_home(open_home(tmp_path))
    assert run(options(tmp_path), Maker().assemble) == daemon.EXIT_BUSY
    lock.release()
    said = capsys.readouterr().err
    assert str(os.getpid()) in said
    assert "hint:" in said


def test_bad_settings_are_told_before_anything_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    maker = Maker()
    (tmp_path / "llmos.toml").write_text("[engine]\nthreads = 'many'\n")
    assert run(options(tmp_path), maker.assemble) == daemon.EXIT_SETTINGS
    assert "llmos.toml:2" in capsys.readouterr().err
    assert maker.made == []


def test_a_broken_policy_refuses_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "policy.csv").write_text("p, role:admin, **\n")
    overlay = f"security.policy={tmp_path}/policy.csv"
    assert run(options(tmp_path, overlay), Maker().assemble) == daemon.EXIT_SETTINGS
    assert "policy.csv:1" in capsys.readouterr().err


def test_a_service_that_cannot_be_made_ends_the_ready_pipe_without_a_word(tmp_path: Path) -> None:
    def assemble(boot: Boot) -> Nothing:
        raise NotFound("no such model", "pull it")

    reader, writer = os.pipe()
    assert run(options(tmp_path, ready=writer), assemble) == daemon.EXIT_NOT_FOUND
    assert os.read(reader, 100) == b""
    os.close(reader)


def test_an_endpoint_that_cannot_be_refuses_the_start(tmp_path: Path) -> None:
    maker = Maker()
    assert run(options(tmp_path, 'wire.listen=["udp://x"]'), maker.assemble) == daemon.EXIT_SETTINGS
    assert maker.made[0].seen == ["closed"]
    assert not (tmp_path / "run" / "kernel.sock").exists()


def test_a_ready_descriptor_that_is_not_open_is_refused(tmp_path: Path) -> None:
    assert run(options(tmp_path, ready=987), Maker().assemble) == daemon.EXIT_SETTINGS


def test_the_command_line_is_read(tmp_path: Path) -> None:
    read = parse(["--home", str(tmp_path), "--set", "a.b=1", "--set", "c.d=2", "--ready-fd", "5"])
    assert read == Options(tmp_path, None, ("a.b=1", "c.d=2"), 5)
    assert parse([], {"LLMOS_HOME": str(tmp_path)}).home == tmp_path
    with pytest.raises(SystemExit):
        parse(["--hom", "x"])
