"""What the engine knows of a page table follows the pages, also when somebody else has moved them."""

from __future__ import annotations

from llmos.drivers.simulator.engine import simulated_ready
from llmos.kernel.core import events as ev
from llmos.syscalls.abi.words import Pid, Signal
from tests.simulation import Harness


def moved_out(house: Harness, *pids: Pid) -> None:
    """Stop these in mid-generation and take their pages off the device; then others use the slots they had."""
    for pid in pids:
        house.signal(pid, Signal.STOP)
        house.handle(ev.SwapOut(pid))
        while not house.settled or house.settled[-1].pid != pid:
            house.step()
    assert not any(page.device is not None for pid in pids for page in house.process(pid).pages)
    other = house.with_context(20, first=500)
    house.generate(other, 4, ignore_eos=True)
    house.run()


def begun(house: Harness, pid: Pid) -> None:
    """In mid-generation."""
    house.generate(pid, 12, ignore_eos=True)
    while len(house.tokens[pid]) < 2:
        house.step()


def test_a_generation_goes_on_right_after_its_pages_were_swapped_out_and_in_while_it_was_stopped() -> None:
    house = Harness(simulated_ready(device_pages=8))
    pid = house.with_context(10)
    begun(house, pid)
    moved_out(house, pid)
    house.handle(ev.SwapIn(pid))
    house.run()
    house.signal(pid, Signal.CONT)
    house.run()
    assert house.tokens[pid] == house.expected[pid]


def test_a_generation_goes_on_right_after_a_relative_has_brought_their_shared_pages_back() -> None:
    house = Harness(simulated_ready(device_pages=10))
    parent = house.with_context(10)
    begun(house, parent)
    (child,) = house.fork(parent)
    moved_out(house, parent)
    house.generate(child, 4, ignore_eos=True)
    house.run()
    house.signal(parent, Signal.CONT)
    house.run()
    assert house.tokens[child] == house.expected[child]
    assert house.tokens[parent] == house.expected[parent]
