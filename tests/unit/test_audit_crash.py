"""What a killed daemon and a full disk leave: real processes, killed and limited by the operating system."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmos.kernel.security.audit.record import Entry, Kind
from llmos.kernel.security.audit.verify import Mark, verify
from tests.unit.audit_folder import AuditFolder

KILLS = 12
SMALL_SEGMENT = 4000

WRITER = """
import asyncio, sys
from pathlib import Path
from llmos.kernel.security.audit.log import AuditLog
from llmos.kernel.security.audit.record import Entry, Kind

loop = asyncio.new_event_loop()
root, first = Path(sys.argv[1]), int(sys.argv[2])
log = AuditLog.open(loop, root / "audit", root / "keys", int(sys.argv[3]))

async def write(i):
    while True:
        done = loop.create_future()
        log.note(Entry(Kind.CALL, principal="alice", object=f"beside {i}"))
        log.commit(Entry(Kind.KEY, detail=str(i)), done.set_result)
        assert await done is None
        print(i, log.head.n, log.head.hash, flush=True)
        i += 1

loop.run_until_complete(write(first))
"""

FULL_DISK = """
import asyncio, resource, sys
from pathlib import Path
from llmos.kernel.security.audit.log import AuditLog
from llmos.kernel.security.audit.record import Entry, Kind
from llmos.kernel.security.audit.chain import segments
from llmos.kernel.security.audit.verify import verify
from llmos.syscalls.abi.errors import DeviceError

loop = asyncio.new_event_loop()
root = Path(sys.argv[1])
log = AuditLog.open(loop, root / "audit", root / "keys")

async def commit(text):
    done = loop.create_future()
    log.commit(Entry(Kind.KEY, detail=text), done.set_result)
    return await done

async def flush():
    done = loop.create_future()
    log.flush(done.set_result)
    return await done

async def fill():
    assert await commit("before") is None
    path = segments(root / "audit")[0]
    size = path.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Room for a part of a record: the write stops in its middle.
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + int(sys.argv[2]), hard))
    for i in range(20):
        log.note(Entry(Kind.CALL, principal="alice", object=f"meanwhile {i}"))
    error = await commit("refused")
    assert isinstance(error, DeviceError), error
    assert "File too large" in log.failing, log.failing
    assert path.stat().st_size == size
    assert verify(root / "audit").ok
    log.note(Entry(Kind.DAEMON, detail="while it was full"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    while log.failing:
        await flush()
    assert await flush() is None
    assert await commit("after") is None

loop.run_until_complete(fill())
log.close()
loop.close()
"""


def test_whatever_was_acknowledged_before_a_kill_is_there_and_the_log_goes_on(tmp_path: Path) -> None:
    house, draw = AuditFolder(tmp_path), random.Random(1)
    acknowledged = 0
    for _ in range(KILLS):
        with writing(tmp_path, acknowledged + 1) as process:
            lines = told_before_the_kill(process, draw)
        if lines:
            acknowledged, n, digest = int(lines[-1].split()[0]), int(lines[-1].split()[1]), lines[-1].split()[2]
            assert verify(house.folder, expect=Mark(n, digest)).ok
    house.open(SMALL_SEGMENT).close()
    verdict = verify(house.folder)
    assert verdict.ok, verdict.where
    assert acknowledged
    kept = [int(record.detail) for record in house.records() if record.kind is Kind.KEY]
    assert set(range(1, acknowledged + 1)) <= set(kept)
    house.close()


def test_a_full_disk_is_reported_and_nothing_is_missing_when_there_is_room_again(tmp_path: Path) -> None:
    for room in (1, 100, 1000):
        house = AuditFolder(tmp_path / str(room))
        done = subprocess.run(command(FULL_DISK, house.root, room), capture_output=True, text=True, env=ENVIRONMENT)
        assert (done.returncode, done.stderr) == (0, "")
        details = [record.detail for record in house.records() if record.kind in (Kind.KEY, Kind.DAEMON)]
        assert details == ["before", "refused", "while it was full", "after"]
        assert house.objects() == [f"meanwhile {i}" for i in range(20)]
        assert verify(house.folder).ok
        house.close()


def test_a_head_that_cannot_be_written_does_not_repeat_records(tmp_path: Path) -> None:
    house = AuditFolder(tmp_path)
    log = house.open()
    house.commit(log, Entry(Kind.KEY, detail="0"))
    blocked = house.folder / ".head.json"
    blocked.mkdir()
    assert house.commit(log, Entry(Kind.KEY, detail="1")) is not None
    blocked.rmdir()
    while log.failing:
        house.flush(log)
    assert house.commit(log, Entry(Kind.KEY, detail="2")) is None
    assert [record.detail for record in house.records() if record.kind is Kind.KEY] == ["0", "1", "2"]
    assert verify(house.folder).ok
    house.close()


ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def command(script: str, root: Path, *arguments: int) -> list[str]:
    return [sys.executable, "-c", script, str(root), *map(str, arguments)]


@contextmanager
def writing(root: Path, first: int) -> Iterator[subprocess.Popen[str]]:
    arguments = command(WRITER, root, first, SMALL_SEGMENT)
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        try:
            yield process
        finally:
            process.kill()
    assert process.returncode == -signal.SIGKILL


def told_before_the_kill(process: subprocess.Popen[str], draw: random.Random) -> list[str]:
    """Let it write for a random time, kill it, and return the acknowledgements that it had printed whole."""
    assert process.stdout is not None
    lines = [process.stdout.readline()]
    killer = threading.Timer(draw.uniform(0, 0.05), process.kill)
    killer.start()
    lines.extend(process.stdout)
    killer.join()
    return [line for line in lines if line.endswith("\n")]
