"""How runs end, whatever their programs do about it."""

from __future__ import annotations

import time
from itertools import pairwise

import psutil
import pytest

import llmos
from llmos.syscalls.abi.apps import RunState
from tests.docker.app_house import PROBE, SOON, AppHouse, ended, first_line

pytestmark = [pytest.mark.docker]

MARK = "31557"
"""Seconds that nobody else sleeps: so a process is known on the host."""

NO_END = """
import signal, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
print("begun", flush=True)
while True:
    time.sleep(1)
"""
GOOD_END = """
import signal, sys, time
def bye(number, frame):
    print("bye", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, bye)
print("begun", flush=True)
time.sleep(600)
"""
OUTLIVES = f"""
import os
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for stream in range(3):
            os.close(stream)
        os.execvp("sleep", ["sleep", "{MARK}"])
    os._exit(0)
os.wait()
print("gone")
"""
CRASH = """
import sys
print("begun", flush=True)
sys.exit(3)
"""


def sleepers() -> list[psutil.Process]:
    """What `OUTLIVES` leaves."""
    return [one for one in psutil.process_iter(["cmdline"]) if one.info["cmdline"] == ["sleep", MARK]]


def test_what_is_said_last_is_heard_without_a_newline_too(boxes: AppHouse) -> None:
    assert boxes.run("print('x' * 50_000, end='')").out == "x" * 50_000
    assert boxes.run("import sys; sys.stderr.write('last words')").err == "last words"


def test_input_that_comes_before_the_program_reads_is_the_programs(boxes: AppHouse) -> None:
    run = boxes.start("import os; print(os.read(0, 100).decode(), end='')")
    run.write(b"early words\n")
    assert ended(run).out == "early words\n"


def test_who_ends_when_told_says_its_last_words(boxes: AppHouse) -> None:
    run = boxes.start(GOOD_END)
    first_line(run)
    run.stop()
    ran = ended(run)
    assert ran.out == "begun\nbye\n"
    assert (ran.info.status, ran.info.reason) == (0, "stopped")


def test_who_does_not_end_when_told_is_killed_after_its_grace(boxes: AppHouse) -> None:
    run = boxes.start(NO_END)
    first_line(run)
    began = time.monotonic()
    run.stop(grace=1)
    assert 1 <= time.monotonic() - began < 1 + 2 * SOON
    info = ended(run).info
    assert (info.status, info.state) == (137, RunState.ENDED)


def test_what_a_program_leaves_behind_ends_with_it(runc: AppHouse) -> None:
    assert runc.run(OUTLIVES).out == "gone\n"
    assert sleepers() == []


def test_who_never_reads_its_input_holds_up_nobody(runc: AppHouse) -> None:
    run = runc.start("import time; time.sleep(600)")
    with pytest.raises(llmos.TryAgain, match="does not read"):
        run.write(bytes(8 << 20))
    runc.check_others()


def test_who_crashes_again_and_again_is_begun_after_longer_and_longer_waits(boxes: AppHouse) -> None:
    boxes.install("crasher", CRASH, 'restart = "on-failure"\n')
    run = boxes.system.apps.run("crasher")
    begun: list[float] = []
    with run.output() as output:
        while len(begun) < 5:
            begun.append(next(output).at)
    waits = [later - earlier for earlier, later in pairwise(begun)]
    assert waits[-1] >= 0.4
    info = boxes.info("crasher").runs[-1]
    assert info.restarts >= 4
    boxes.check_others()
    run.stop(grace=0)
    assert boxes.info("crasher").runs[-1].state is RunState.ENDED


def test_a_run_that_waits_to_be_begun_again_ends_when_told(boxes: AppHouse) -> None:
    boxes.install("crasher", CRASH, 'restart = "always"\n')
    run = boxes.system.apps.run("crasher")
    first_line(run)
    run.stop(grace=0)
    assert ended(run).info.state is RunState.ENDED
    assert all(noted.principal in ("", "admin") for noted in boxes.audited("daemon"))


def test_an_app_that_runs_cannot_be_removed_and_one_that_is_removed_leaves_nothing(boxes: AppHouse) -> None:
    boxes.install("guest", "input()")
    run = boxes.system.apps.run("guest")
    with pytest.raises(llmos.Busy):
        boxes.system.apps.remove("guest")
    run.stop(grace=0)
    boxes.system.apps.remove("guest")
    boxes.installed.remove("guest")
    assert boxes.engine.containers("llmos.app", "guest") == []
    assert not (boxes.daemon.home / "apps" / "guest").exists()
    assert PROBE in {app.name for app in boxes.system.apps.list()}
