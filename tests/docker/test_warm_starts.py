"""A run begins in a container that waits, so its first call is answered soon; `bench apps_start` measures it."""

from __future__ import annotations

import threading
import time

import pytest

from llmos.syscalls.abi.apps import Health
from tests.docker.app_house import SOON, AppHouse

pytestmark = [pytest.mark.docker]

FIRST_CALL = """
import llmos, time
with llmos.connect() as system:
    system.memory.list()
    print("answered", flush=True)
    time.sleep(600)
"""
_LOOKED = 0.05


def seconds_to_first_call(house: AppHouse) -> float:
    """From the call that begins a run until the run says that its own first call was answered."""
    began = time.monotonic()
    run = house.start(FIRST_CALL)
    with run.output() as output:
        assert next(output).data == b"answered\n"
        return time.monotonic() - began


def await_warm(house: AppHouse) -> None:
    """A container waits for the next run."""
    waiting = threading.Event()
    until = time.monotonic() + 12 * SOON
    while not house.info().warm:
        assert time.monotonic() < until
        waiting.wait(_LOOKED)


def test_a_run_that_takes_a_waiting_container_is_sooner_at_its_first_call_than_one_that_makes_it(
    boxes: AppHouse,
) -> None:
    warm, cold = [], []
    for _ in range(3):
        await_warm(boxes)
        warm.append(seconds_to_first_call(boxes))
        cold.append(seconds_to_first_call(boxes))
    assert min(warm) < min(cold)
    assert min(warm) < SOON


def test_a_run_that_has_made_a_call_is_healthy(boxes: AppHouse) -> None:
    seconds_to_first_call(boxes)
    assert boxes.info().runs[-1].health is Health.HEALTHY


def test_a_container_that_waits_is_frozen(boxes: AppHouse) -> None:
    await_warm(boxes)
    assert any(boxes.engine.waits(one) for one in boxes.containers())
