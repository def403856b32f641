"""A daemon that is killed while apps run, two daemons on one engine, and an engine that ends under its daemon."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

import llmos
from llmos.sandbox.containers import HOME
from llmos.syscalls.abi.apps import RunInfo, RunState
from tests.docker.app_house import OWN, PROBE, RUNS_ANYTHING, SETTINGS, AppHouse, ended, first_line, sweep
from tests.docker.own_engine import own_engine
from tests.e2e.daemon_process import start_daemon, start_in

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

SECONDS = 60.0
_LOOKED = 0.1
ASKS = """
import sys
print("asking", flush=True)
print("heard", sys.stdin.readline().strip(), flush=True)
"""
GOES_ON = """
import time
print("begun", flush=True)
time.sleep(600)
"""


def test_after_a_kill_of_the_daemon_the_next_one_ends_what_ran_and_begins_what_always_runs(runc: AppHouse) -> None:
    neighbour = runc.start(ASKS)
    assert first_line(neighbour) == "asking"
    settings = (*SETTINGS, f"sandbox.base={runc.engine.base}", "sandbox.runtime=runc")
    daemon = start_daemon(*settings)
    try:
        house = replace(runc, daemon=daemon, system=daemon.connect(), installed=[])
        house.install("loyal", GOES_ON, f'restart = "always"\n{OWN}')
        house.install("guest", GOES_ON)
        for app in ("loyal", "guest"):
            first_line(house.system.apps.run(app))
        house.system.close()
        left = set(house.containers())
        daemon.kill()
        assert set(house.containers()) == left

        daemon = start_in(daemon.home, *settings)
        house = replace(house, daemon=daemon, system=daemon.connect())
        await_that(lambda: any(run.state is RunState.RUNNING for run in runs(house, "loyal")))
        await_that(lambda: not left & set(house.containers()))
        assert runs(house, "guest") == []
        told = [noted.detail for noted in house.audited("daemon")]
        assert sum("left by an earlier daemon" in detail for detail in told) == 2
        with house.system.apps.logs("loyal", follow=True) as output:
            assert next(output).data == b"begun\n"
        house.system.close()
        daemon.stop(apart_from=("apps", "policy", "files"))
        assert house.containers() == []
    finally:
        daemon.destroy()
        sweep(runc.engine, daemon.home)
    # All that time the other daemon's app ran on the same engine.
    neighbour.write(b"you\n")
    assert ended(neighbour).out == "asking\nheard you\n"


def test_an_engine_that_ends_and_comes_back_costs_its_runs_and_nothing_else(runc: AppHouse) -> None:
    with own_engine(runc.engine) as (own, engine):
        settings = (*SETTINGS, f"sandbox.base={engine.base}", "sandbox.runtime=runc")
        daemon = start_daemon(*settings, environment={"DOCKER_HOST": own.endpoint})
        try:
            house = replace(runc, daemon=daemon, system=daemon.connect(), engine=engine, installed=[])
            house.system.apps.install(house.write(PROBE, RUNS_ANYTHING, OWN))
            run = house.start(GOES_ON)
            assert first_line(run) == "begun"

            own.stop()
            house.system.whoami()
            with pytest.raises((llmos.NotSupported, llmos.DeviceError)):
                house.start(GOES_ON)

            engine.client.close()
            engine = own.start()
            house = replace(house, engine=engine)
            await_that(lambda: runs(house, PROBE)[0].state is RunState.ENDED)
            assert house.run("print('well')").out == "well\n"
            house.tidy()
            house.system.apps.remove(PROBE)
            house.system.close()
            daemon.stop(apart_from=("apps", "files"))
            assert engine.containers(HOME, str(daemon.home)) == []
        finally:
            daemon.destroy()
            engine.client.close()


def runs(house: AppHouse, app: str) -> list[RunInfo]:
    """The runs of an app."""
    return list(house.info(app).runs)


def await_that(true: Callable[[], bool]) -> None:
    """Look until it is so."""
    waiting = threading.Event()
    for _ in range(int(SECONDS / _LOOKED)):
        if true():
            return
        waiting.wait(_LOOKED)
    raise AssertionError(f"not so after {SECONDS} s")
