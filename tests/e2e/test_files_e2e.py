"""Files through a real daemon: two tenants, processes, connections, kill -9, the command line, the plain client."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import llmos
from llmos.drivers.models.store import ResolvedModel
from llmos.syscalls.abi.files import FileOpened
from llmos.syscalls.sdk.blocking_files import File
from llmos.syscalls.sdk.files_requests import AHEAD, PIECE
from tests.e2e.daemon_process import Daemon, start_daemon

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

PATIENCE = 30.0
SETTINGS = ("engine.device=cpu", "engine.device_pages=32", 'files.quota="64MiB"', "files.open_files=6")
PLAIN_CLIENT = Path(__file__).parent / "plain_files.py"
LARGE = os.urandom(PIECE) * (AHEAD + 5) + b"and a little"


@pytest.fixture(scope="module")
def daemon(model: ResolvedModel) -> Iterator[Daemon]:
    """A daemon with people of two tenants: alice and anna of acme, zoe of zeta."""
    started = start_daemon(*SETTINGS)
    try:
        with started.connect() as admin:
            for name, tenant in (("alice", "acme"), ("anna", "acme"), ("zoe", "zeta")):
                admin.keys.create(name, "developer", tenant, path=started.key(name))
        yield started
        assert started.process.poll() is None, started.log
        assert "Traceback" not in started.log, started.log
    finally:
        started.destroy()


@pytest.fixture
def alice(daemon: Daemon) -> Iterator[llmos.System]:
    """Her connection; her home is empty before and after."""
    with daemon.connect("alice") as system:
        yield system
        for entry in system.files.list():
            system.files.unlink(entry.path, recursive=True)


def until(condition: Callable[[], bool], what: str) -> None:
    """Ask again and again: nothing tells a client what the daemon has noticed."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what


def test_a_file_is_written_read_and_gone_over(alice: llmos.System) -> None:
    with alice.files.open("large", "w") as file:
        assert file.write(LARGE) == len(LARGE)
        assert file.tell() == len(LARGE)
    assert alice.files.stat("large").size == len(LARGE)
    with alice.files.open("large") as file:
        assert file.read(5) == LARGE[:5]
        assert file.seek(-6, "end") == len(LARGE) - 6
        assert file.read() == b"little"
        assert file.read() == b""
        file.seek(3)
        for chunk in file:
            assert chunk == LARGE[3 : 3 + len(chunk)]
            break
        assert file.tell() == 3 + len(chunk)
        assert file.read() == LARGE[file.stat.size - (file.stat.size - 3 - len(chunk)) :]
    assert alice.files.read_bytes("large") == LARGE


def test_every_call_of_the_group_does_what_it_says(alice: llmos.System) -> None:
    files = alice.files
    assert files.mkdir("d/e", parents=True).kind == "directory"
    assert files.write_bytes("d/e/a", b"one").version == 1
    assert files.write_bytes("d/e/a", b"two").version == 2
    assert [one.version for one in files.versions("d/e/a")] == [1]
    assert files.restore("d/e/a", 1).version == 3
    assert files.rename("d", "z").path == "/home/alice/z"
    with files.open("z/e/a", "u") as file:
        file.seek(1)
        file.write(b"NN")
    with files.open("z/e/a", "a") as file:
        file.write(b"!")
    assert files.read_bytes("/home/alice/z/e/a") == b"oNN!"
    with pytest.raises(llmos.AlreadyExists):
        files.open("z/e/a", "x")
    assert [entry.path for entry in files.list("z/e")] == ["/home/alice/z/e/a"]
    files.unlink("z", recursive=True)
    assert files.list() == []


def test_an_exception_leaves_the_old_content(alice: llmos.System) -> None:
    alice.files.write_bytes("a", b"old")
    with suppress(ZeroDivisionError), alice.files.open("a", "w") as file:
        file.write(b"new" + LARGE)
        raise ZeroDivisionError
    assert alice.files.read_bytes("a") == b"old"


def test_over_the_quota_the_writer_is_told_and_nothing_is_left(alice: llmos.System) -> None:
    def write_too_much() -> None:
        with alice.files.open("a", "w") as file:
            for _ in range(9):
                file.write(LARGE)

    with pytest.raises(llmos.LimitExceeded, match=r"files\.quota"):
        write_too_much()
    assert alice.files.list() == []


def test_another_tenant_finds_nothing_and_one_of_the_same_is_denied(daemon: Daemon, alice: llmos.System) -> None:
    alice.files.write_bytes("secret", b"x")
    file = alice.files.open("secret")
    with daemon.connect("zoe") as zoe, daemon.connect("anna") as anna:
        for path in ("/home/alice/secret", "/home/alice/other", "/home/nobody/secret"):
            with pytest.raises(llmos.NotFound, match=f"there is no file .*{path[1:]}"):
                zoe.files.stat(path)
        with pytest.raises(llmos.PermissionDenied):
            anna.files.stat("/home/alice/secret")
        for other, error in ((zoe, llmos.NotFound), (anna, llmos.PermissionDenied)):
            stolen = File(other._connection, FileOpened(file.fd, file.stat), "r")
            with pytest.raises(error):
                stolen.read(1)
            with pytest.raises(error):
                stolen.close()
    assert file.read() == b"x"
    file.close()
    with daemon.connect() as admin:
        assert admin.files.read_bytes("/home/alice/secret") == b"x"


def test_too_many_open_files_are_refused(alice: llmos.System) -> None:
    alice.files.write_bytes("a", b"x")
    opened = [alice.files.open("a") for _ in range(6)]
    with pytest.raises(llmos.LimitExceeded, match=r"6 files open.*files\.open_files"):
        alice.files.open("a")
    opened[0].close()
    alice.files.open("a").close()
    for file in opened:
        file.close()


def test_a_file_of_a_process_closes_when_that_exits(alice: llmos.System) -> None:
    process = alice.spawn()
    file = alice.files.open("a", "w", pid=process.pid)
    file.write(b"x")
    file.flush()
    process.kill()
    with pytest.raises(llmos.NotFound):
        file.tell()
    assert alice.files.list() == []
    with pytest.raises(llmos.NoSuchProcess):
        alice.files.open("a", "w", pid=process.pid)
    process.wait()


def test_files_of_a_connection_end_with_it(daemon: Daemon, alice: llmos.System) -> None:
    with daemon.connect("alice") as other:
        other.files.write_bytes("a", b"old")
        for _ in range(6):
            file = other.files.open("a", "w")
            file.write(b"new")
            file.flush()

    def may_open() -> bool:
        try:
            alice.files.open("a").close()
        except llmos.LimitExceeded:
            return False
        return True

    until(may_open, "the files of a connection that ended are open still")
    assert alice.files.read_bytes("a") == b"old"


def test_what_changes_is_told(daemon: Daemon, alice: llmos.System) -> None:
    with alice.files.watch() as changes:
        with daemon.connect("alice") as other:
            other.files.write_bytes("a", b"1")
            other.files.write_bytes("a", b"2")
            other.files.rename("a", "b")
        (daemon.home / "files" / "alice" / "outside").touch()
        told = [(one.change.value, one.path.rpartition("/")[2]) for _, one in zip(range(4), changes, strict=False)]
    assert told == [("created", "a"), ("changed", "a"), ("moved", "a"), ("created", "outside")]


def test_the_asynchronous_sdk_does_the_same(daemon: Daemon, alice: llmos.System) -> None:
    async def everything() -> None:
        async with llmos.aconnect(daemon.endpoint, daemon.key("alice")) as system:
            files = system.files
            changes = await files.watch()
            async with files.open("d", "w") as file:
                await file.write(LARGE)
            assert (await changes.__anext__()).change == "created"
            await changes.close()
            file = await files.open("d")
            assert b"".join([chunk async for chunk in file]) == LARGE
            assert await file.seek(2) == 2
            assert await file.read(3) == LARGE[2:5]
            assert await file.read() == LARGE[5:]
            await file.close()
            with suppress(ZeroDivisionError):
                async with files.open("d", "w") as file:
                    await file.write(b"x")
                    raise ZeroDivisionError
            assert await files.read_bytes("d") == LARGE
            assert (await files.write_bytes("d", b"small")).version == 2
            assert len(await files.versions("d")) == 1
            await files.restore("d", 1)
            await files.mkdir("e")
            await files.rename("d", "e/d")
            assert (await files.stat("e/d")).version == 3
            assert [one.path for one in await files.list()] == ["/home/alice/e"]
            await files.unlink("e", recursive=True)

    asyncio.run(everything())


def test_a_client_of_thirty_lines_writes_and_reads(daemon: Daemon) -> None:
    command = [sys.executable, str(PLAIN_CLIENT), daemon.endpoint, str(daemon.key("alice")), "note", "grüße"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "grüße"), done.stderr


def test_the_command_line(daemon: Daemon, alice: llmos.System, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LLMOS_")}
    environment |= {"LLMOS_ENDPOINT": daemon.endpoint, "LLMOS_KEY": str(daemon.key("alice"))}

    def fs(*words: str, code: int = 0, stdin: bytes = b"") -> bytes:
        command = [sys.executable, "-m", "llmos.apps.llmosctl", "fs", *words]
        done = subprocess.run(
            command, env=environment, input=stdin, capture_output=True, check=False, cwd=tmp_path, timeout=60
        )
        assert done.returncode == code, done.stderr
        return done.stdout

    (tmp_path / "local").write_bytes(LARGE)
    assert json.loads(fs("put", "local", "--json"))["size"] == len(LARGE)
    assert fs("cat", "local") == LARGE
    fs("put", "-", "local", stdin=b"second")
    fs("put", "--new", "local", code=1)
    fs("put", "--append", "-", "local", stdin=b"+")
    fs("get", "local", "copy")
    assert (tmp_path / "copy").read_bytes() == b"second+"
    assert fs("get", "local", "-") == b"second+"
    assert [one["version"] for one in json.loads(fs("versions", "local", "--json"))] == [1]
    fs("restore", "local", "1")
    assert fs("cat", "local") == LARGE
    fs("mkdir", "-p", "a/b")
    fs("mv", "local", "a/b/c")
    assert json.loads(fs("stat", "a/b/c", "--json"))["version"] == 3
    assert [one["path"] for one in json.loads(fs("ls", "a/b", "--json"))] == ["/home/alice/a/b/c"]
    assert b"a/\n" in fs("ls")
    fs("rm", "a", code=1)
    fs("rm", "-r", "a")
    fs("cat", "nope", code=5)
    watching = subprocess.Popen(
        [sys.executable, "-m", "llmos.apps.llmosctl", "fs", "watch", "-n", "1", "--json"],
        env=environment,
        stdout=subprocess.PIPE,
    )
    number = 0
    while watching.poll() is None:
        # Until it watches, nothing is told: change something again.
        number += 1
        alice.files.write_bytes(f"seen{number}", b"")
    output = watching.communicate()[0]
    assert json.loads(output)["change"] == "created"


def test_kill_9_after_close_keeps_the_new_content_and_before_it_the_old(model: ResolvedModel) -> None:
    daemon = start_daemon(*SETTINGS)
    try:
        with daemon.connect() as system:
            system.files.write_bytes("closed", b"old")
            system.files.write_bytes("open", b"old")
            unfinished = system.files.open("open", "w")
            unfinished.write(LARGE)
            unfinished.flush()
            assert system.files.write_bytes("closed", LARGE).version == 2
            daemon.process.send_signal(signal.SIGKILL)
            daemon.process.wait(PATIENCE)
        again = restart(daemon)
        with again.connect() as system:
            assert system.files.read_bytes("closed") == LARGE
            assert system.files.read_bytes("open") == b"old"
            assert [one.version for one in system.files.versions("closed")] == [1]
            assert os.listdir(again.home / "files" / ".kept" / "admin" / "temporary") == []
        again.destroy()
    finally:
        daemon.destroy()


def restart(daemon: Daemon) -> Daemon:
    """Another daemon in the same home."""
    reader, writer = os.pipe()
    with (daemon.home / "run" / "llmosd.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "llmos.kernel.boot", "--home", str(daemon.home), "--ready-fd", str(writer)]
            + [word for setting in SETTINGS for word in ("--set", setting)],
            pass_fds=(writer,),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    os.close(writer)
    with os.fdopen(reader, "rb") as ready:
        assert ready.readline() == b"ready\n", daemon.log
    return Daemon(daemon.home, process, daemon.shared_memory)


def test_metrics_count_what_is_open_read_and_written(daemon: Daemon, alice: llmos.System) -> None:
    def counted() -> dict[str, float]:
        with daemon.connect() as admin:
            return {metric.name: metric.value for metric in admin.metrics() if metric.name.startswith("file")}

    before = counted()
    alice.files.write_bytes("counted", b"x" * 1000)
    with alice.files.open("counted") as file:
        assert file.read() == b"x" * 1000
        during = counted()
    assert during["files_open"] == before["files_open"] + 1
    assert during["files_opened_total"] == before["files_opened_total"] + 2
    assert during["file_bytes_written_total"] == before["file_bytes_written_total"] + 1000
    assert during["file_bytes_read_total"] == before["file_bytes_read_total"] + 1000
