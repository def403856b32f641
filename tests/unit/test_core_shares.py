"""No principal takes what others need: pages, processes; and what one learns of others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmos.drivers.simulator.engine import simulated_ready
from llmos.kernel.core import effects as fx
from llmos.kernel.core import events as ev
from llmos.kernel.core import views
from llmos.syscalls.abi.errors import LimitExceeded
from llmos.syscalls.abi.words import Pid, PriorityClass, Signal
from tests.simulation import Harness


def harness(page_share: float = 1.0, max_processes_each: int = 100) -> Harness:
    house = Harness(simulated_ready(device_pages=8, host_pages=12))
    house.kernel.settings = replace(house.kernel.settings, page_share=page_share, max_processes_each=max_processes_each)
    return house


def test_who_holds_its_share_of_the_pages_gets_no_more_and_others_do() -> None:
    house = harness(page_share=0.5)
    size = house.ready.page_tokens
    hog = [house.with_context(3 * size, first=1 + 100 * number) for number in range(6)]
    for pid in hog:
        house.generate(pid, 2, ignore_eos=True)
    house.run()
    failed = [end for pid in hog if isinstance(end := house.ended[pid], fx.Failed)]
    assert failed
    for end in failed:
        assert isinstance(end.error, LimitExceeded)
        assert "the share of one principal is 10 of 20 (security.page_share)" in end.error.message
    modest = house.with_context(3 * size, principal="bob", first=900)
    house.generate(modest, 2, ignore_eos=True)
    house.run()
    assert isinstance(house.ended[modest], fx.Finished)


def test_pages_that_are_given_back_may_be_had_again() -> None:
    house = harness(page_share=0.3)
    size = house.ready.page_tokens
    for number in range(6):
        pid = house.with_context(4 * size, first=1 + 100 * number)
        house.generate(pid, 2, ignore_eos=True)
        house.run()
        assert isinstance(house.ended[pid], fx.Finished)
        house.signal(pid, Signal.KILL)
        house.run()


def test_a_principal_has_so_many_processes_forks_included_and_others_are_not_concerned() -> None:
    house = harness(max_processes_each=3)
    pid = house.spawn()
    house.fork(pid)
    with pytest.raises(LimitExceeded, match=r"alice has 2 processes; .* 3"):
        house.fork(pid, 2)
    house.fork(pid)
    with pytest.raises(LimitExceeded):
        house.spawn()
    house.spawn("bob")


def test_whoever_is_displaced_by_another_tenant_is_not_told_by_whom() -> None:
    house = Harness(simulated_ready(device_pages=4, host_pages=12))
    size = house.ready.page_tokens
    victim = house.with_context(3 * size, PriorityClass.BATCH, "alice")
    house.generate(victim, 40, ignore_eos=True)
    house.step()
    urgent = house.spawn("eve", PriorityClass.INTERACTIVE, tenant="beta")
    house.append(urgent, tuple(range(900, 900 + 2 * size)))
    house.generate(urgent, 2, ignore_eos=True)
    house.run()
    told = [entry.what for entry in house.process(victim).history if "preempted for" in entry.what]
    assert told
    assert all("another process" in what and str(urgent) not in what.split("(")[0] for what in told)
    assert fx.Displaced(victim, urgent) in house.log


def test_who_waits_before_one_is_counted_in_ones_own_tenant_only() -> None:
    house = Harness(simulated_ready(device_pages=8, host_pages=12))
    house.handle(ev.EngineDown("sim", "away", False))
    mine = [house.with_context(4, principal="alice", first=1 + 10 * number) for number in range(3)]
    for number in range(4):
        stranger = house.spawn("eve", PriorityClass.INTERACTIVE, tenant="beta")
        house.append(stranger, (500 + number,))
        house.generate(stranger, 2)
    for pid in mine:
        house.generate(pid, 2)
    last = house.process(mine[-1])
    assert views.why(house.kernel, last, 0.0).before_it == 6
    assert views.why(house.kernel, last, 0.0, "default").before_it == 2
    assert views.why(house.kernel, house.process(Pid(mine[0])), 0.0, "default").before_it == 0
