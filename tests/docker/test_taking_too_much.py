"""Programs that take all that they can get: each hits its own limit, and nobody else notices."""

from __future__ import annotations

import time

import pytest

from llmos.sandbox.confinement import KEPT_FILES
from tests.docker.app_house import PROBE, QUOTA, SOON, AppHouse, ended, first_line, processes_in

pytestmark = [pytest.mark.docker]

PROCESSES, SCRATCH, SHARED = 64, 64, 16
"""Of an app whose manifest names no limits: processes; scratch folder and shared memory in MiB."""

TOO_MUCH_MEMORY = "killed: it needed more memory than its limit"

EVERY_PROCESS = """
import os, time
made = 0
try:
    while True:
        if os.fork() == 0:
            time.sleep(600)
        made += 1
except OSError as error:
    print(made)
"""
SOME_PROCESSES = """
import os, time
for _ in range(5):
    if os.fork() == 0:
        os.setsid()
        time.sleep(600)
print("begun", flush=True)
time.sleep(600)
"""
BOMB = """
import os
print("ready", flush=True)
input()
while True:
    try:
        os.fork()
    except OSError:
        pass
"""
EVERY_THREAD = """
import threading, time
made = 0
try:
    while True:
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
        made += 1
except RuntimeError:
    print(made)
"""
ALL_MEMORY = """
taken = []
while True:
    taken.append(bytearray(8 << 20))
"""
ALL_MEMORY_IN_A_CHILD = """
import os
if os.fork() == 0:
    taken = []
    while True:
        taken.append(bytearray(8 << 20))
os.wait()
"""
FILL = """
import errno, sys
written = 0
try:
    with open(sys.argv[1], "wb") as file:
        while True:
            file.write(bytes(1 << 20))
            written += 1
except OSError as error:
    assert error.errno == errno.ENOSPC, error
    print(written)
"""
FILL_HOME = """
import llmos
written = 0
with llmos.connect() as system:
    try:
        while True:
            system.files.write_bytes(f"part{written}", bytes(1 << 20))
            written += 1
    except llmos.LimitExceeded as error:
        print(written)
"""
FLOOD = """
for _ in range(6):
    print(("x" * 99 + "\\n") * 10_000, end="")
"""
BURN = """
import json, os, time
began = time.monotonic()
if os.fork() and os.fork():
    os.wait(), os.wait()
    spent = os.times()
    print(json.dumps([sum(spent[:4]), time.monotonic() - began]))
else:
    while time.monotonic() - began < 2:
        pass
"""


@pytest.mark.parametrize("source", [EVERY_PROCESS, EVERY_THREAD], ids=["processes", "threads"])
def test_an_app_makes_no_more_processes_and_threads_than_it_may(boxes: AppHouse, source: str) -> None:
    ran = boxes.run(source)
    if boxes.runtime == "runc":
        assert int(ran.out) == PROCESSES - 1
    else:
        # They are processes of gVisor's kernel; what bounds them is the memory that it has.
        assert ran.out == ""
        assert ran.info.reason == TOO_MUCH_MEMORY


def test_a_fork_bomb_holds_up_nobody_and_ends_when_it_is_told(boxes: AppHouse) -> None:
    bomb = boxes.start(BOMB)
    first_line(bomb)
    family = processes_in(boxes.engine, boxes.begun())
    bomb.write(b"\n")
    boxes.check_others()
    began = time.monotonic()
    bomb.stop(grace=0)
    assert time.monotonic() - began < 4 * SOON
    assert [one for one in family if one.is_running()] == []


@pytest.mark.parametrize("source", [ALL_MEMORY, ALL_MEMORY_IN_A_CHILD], ids=["itself", "its child"])
def test_who_takes_too_much_memory_is_killed_and_the_run_says_so(boxes: AppHouse, source: str) -> None:
    ran = boxes.run(source)
    assert "more memory than" in ran.info.reason, ran
    if source == ALL_MEMORY:
        assert (ran.info.status, ran.info.reason) == (137, TOO_MUCH_MEMORY)
    assert any(PROBE in noted.detail and "more memory" in noted.detail for noted in boxes.audited("daemon"))
    boxes.check_others()


@pytest.mark.parametrize(("path", "size"), [("/tmp/full", SCRATCH), ("/dev/shm/full", SHARED)])
def test_folders_in_memory_are_full_at_their_size(boxes: AppHouse, path: str, size: int) -> None:
    assert int(boxes.run(FILL, path).out) == size


def test_the_files_of_an_app_are_full_at_its_quota(boxes: AppHouse) -> None:
    written = int(boxes.run(FILL_HOME).out)
    assert 0 < written <= QUOTA >> 20
    for part in range(written):
        boxes.system.files.unlink(f"/home/{PROBE}/part{part}")


def test_of_a_flood_of_output_the_host_keeps_the_last_megabytes(runc: AppHouse) -> None:
    ran = runc.run(FLOOD)
    with runc.system.apps.logs(PROBE, ran.info.run) as output:
        kept = sum(len(piece.data) for piece in output)
    assert 0 < kept <= KEPT_FILES << 20
    assert ran.info.status == 0


def test_who_burns_processors_gets_its_share_of_them(runc: AppHouse) -> None:
    runc.install("burner", BURN, "[limits]\ncpus = 0.5\n")
    run = runc.system.apps.run("burner")
    runc.check_others()
    spent, wall = ended(run).answer(tuple[float, float])
    assert spent <= 0.5 * wall + 0.3


def test_a_container_that_ends_leaves_no_process_on_the_host(boxes: AppHouse) -> None:
    run = boxes.start(SOME_PROCESSES)
    first_line(run)
    family = processes_in(boxes.engine, boxes.begun())
    assert family
    run.stop(grace=0)
    assert [one for one in family if one.is_running()] == []
