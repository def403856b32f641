"""The kernel's end of an engine: real processes over a small model, and nothing left of them afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from select import select

import psutil
import pytest

from llmos.drivers.engine.launcher import Launcher, Process
from llmos.drivers.engine.settings import DeviceKind, EngineSettings, WeightFormat
from llmos.kernel.ports.engine import (
    Chunk,
    Direction,
    EngineGone,
    EngineRefused,
    Move,
    MoveId,
    Open,
    Outcome,
    Plan,
    Ready,
    Report,
    SamplingParameters,
    SequenceId,
)
from tests.engine.conftest import ModelDirectory

PATIENCE = 120.0
SEQUENCE = SequenceId(1)


def settings_for(directory: Path) -> EngineSettings:
    return EngineSettings(
        "small",
        str(directory),
        device=DeviceKind.CPU,
        weights=WeightFormat.EXACT,
        page_tokens=8,
        device_pages=16,
        host_memory=1 << 20,
        threads=1,
    )


@pytest.fixture(scope="module")
def shared_launcher(model_directory: ModelDirectory) -> Iterator[Launcher]:
    """A launcher whose engines end with their tests; counts what is left when it is closed."""
    before, processes = open_descriptors(), children()
    launcher = Launcher(settings_for(model_directory("llama")))
    yield launcher
    launcher.close()
    launcher.close()
    assert children() == processes
    assert open_descriptors() == before


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def report(engine: Process) -> Report:
    """The next report, waited for as the kernel does."""
    while (found := engine.receive()) is None:
        assert select([engine], [], [], PATIENCE)[0], "the engine says nothing"
    return found


def outcome(engine: Process, plan: Plan) -> Outcome:
    engine.submit(plan)
    found = report(engine)
    assert isinstance(found, Outcome)
    return found


def opening(tokens: tuple[int, ...]) -> Plan:
    return Plan(
        1,
        open=(Open(SEQUENCE, SamplingParameters()),),
        chunks=(Chunk(SEQUENCE, 0, tokens, 0, (3, 7), True),),
    )


def started(launcher: Launcher) -> Process:
    engine = launcher.launch()
    assert isinstance(report(engine), Ready)
    return engine


def test_a_killed_engine_is_told_and_the_next_one_finds_the_host_pages(shared_launcher: Launcher) -> None:
    first = started(shared_launcher)
    token = outcome(first, opening(tuple(range(10, 22)))).sampled[0].token
    out = tuple(Move(MoveId(slot), Direction.DEVICE_TO_HOST, slot, slot - 3) for slot in (3, 7))
    assert outcome(first, Plan(2, moves=out)).moved == (MoveId(3), MoveId(7))
    expected = outcome(first, Plan(3, chunks=(Chunk(SEQUENCE, 12, (token,), 2, (), True),))).sampled

    os.kill(first.os_pid, signal.SIGKILL)
    with pytest.raises(EngineGone, match="killed by signal 9"):
        report(first)
    with pytest.raises(EngineGone):
        first.submit(Plan(4))
    first.kill()
    first.kill()

    second = started(shared_launcher)
    back = tuple(Move(MoveId(slot), Direction.HOST_TO_DEVICE, slot - 3, slot + 1) for slot in (3, 7))
    chunk = Chunk(SEQUENCE, 12, (token,), 0, (4, 8), True)
    again = Plan(1, moves=back, open=(Open(SEQUENCE, SamplingParameters()),), chunks=(chunk,))
    assert outcome(second, again).sampled == expected
    second.kill()


def test_plans_queue_and_are_answered_in_order(shared_launcher: Launcher) -> None:
    engine = started(shared_launcher)
    engine.submit(opening((9, 8, 7)))
    for number in range(2, 12):
        engine.submit(Plan(number, chunks=(Chunk(SEQUENCE, number + 1, (), 2, (), True),)))
    reports = [report(engine) for _ in range(11)]
    assert [entry.number for entry in reports if isinstance(entry, Outcome)] == list(range(1, 12))
    assert engine.receive() is None
    engine.kill()


def test_a_plan_that_makes_no_sense_ends_the_engine_with_a_reason(shared_launcher: Launcher) -> None:
    engine = started(shared_launcher)
    engine.submit(Plan(1, chunks=(Chunk(SEQUENCE, 0, (7,), 0, (1,), True),)))
    with pytest.raises(EngineGone, match="PlanError: sequence 1 has a chunk but was never opened"):
        report(engine)
    engine.kill()


def test_a_killed_engine_may_be_asked_no_more(shared_launcher: Launcher) -> None:
    engine = shared_launcher.launch()
    engine.kill()
    with pytest.raises(EngineGone):
        engine.receive()
    with pytest.raises(EngineGone):
        engine.submit(Plan(1))


def test_closing_the_launcher_ends_its_engines(model_directory: ModelDirectory) -> None:
    before = open_descriptors()
    launcher = Launcher(settings_for(model_directory("llama")))
    engine = started(launcher)
    launcher.close()
    with pytest.raises(EngineGone, match="gone"):
        report(engine)
    engine.kill()
    with pytest.raises(EngineGone, match="closed"):
        launcher.launch()
    assert open_descriptors() == before


def test_a_template_that_died_is_started_anew(model_directory: ModelDirectory) -> None:
    before = children()
    launcher = Launcher(settings_for(model_directory("llama")))
    engine = started(launcher)
    template = psutil.Process(engine.os_pid).parent()
    assert template is not None
    template.kill()
    with pytest.raises(EngineGone, match="template"):
        report(engine)
    engine.kill()
    started(launcher).kill()
    launcher.close()
    assert children() == before


def test_a_launcher_may_be_closed_while_its_first_engine_is_still_on_its_way(model_directory: ModelDirectory) -> None:
    launcher = Launcher(settings_for(model_directory("llama")))
    engine = launcher.launch()
    started_at = time.monotonic()
    launcher.close()
    assert time.monotonic() - started_at < 15
    with pytest.raises(EngineGone):
        report(engine)
    engine.kill()


def test_a_model_that_does_not_fit_is_refused_through_the_channel(tmp_path: Path) -> None:
    launcher = Launcher(settings_for(tmp_path))
    engine = launcher.launch()
    with pytest.raises(EngineRefused, match=r"'small'.*no config\.json"):
        report(engine)
    engine.kill()
    launcher.close()


KERNEL = """
import select, sys
from llmos.drivers.engine.launcher import Launcher
from llmos.drivers.engine.settings import EngineSettings
launcher = Launcher(EngineSettings("small", sys.argv[1], device_pages=8, host_memory=1 << 20, threads=1))
engine = launcher.launch()
while engine.receive() is None:
    select.select([engine], [], [])
assert "torch" not in sys.modules
print(engine.os_pid, flush=True)
sys.stdin.read()
"""


def test_engine_and_template_follow_a_kernel_that_was_killed(model_directory: ModelDirectory) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KERNEL, str(model_directory("llama"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": "src"},
    ) as kernel:
        assert kernel.stdout is not None
        engine = psutil.Process(int(kernel.stdout.readline()))
        template = engine.parent()
        assert template is not None
        kernel.kill()
    _, alive = psutil.wait_procs([engine, template], timeout=20)
    assert alive == []
