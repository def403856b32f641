"""Long random walks of one busy machine: generations, forks, stops, swaps and crashes, far deeper than single examples.

Hypothesis looks for short sequences; what goes wrong only when slots have been used again and again shows here. A walk
is a function of its number, so one that fails can be walked again.
"""

from __future__ import annotations

from contextlib import suppress
from random import Random

import pytest

from llmos.drivers.simulator.engine import simulated_ready
from llmos.kernel.core import events as ev
from llmos.syscalls.abi.errors import Error
from llmos.syscalls.abi.words import Pid, PriorityClass, Signal, State
from tests.simulation import Harness

EVENTS = 600
MOST_PROCESSES = 10
KINDS = (
    ("step",) * 8
    + ("generate",) * 3
    + ("swap_out", "swap_in", "stop", "cont", "cont") * 2
    + (*("fork", "spawn", "truncate", "cancel", "throttle", "prefetch", "kill", "renice", "plan", "crash"),)
)


class Walk:
    """One walk."""

    def __init__(self, number: int) -> None:
        self.chance = Random(number)
        ready = simulated_ready(
            lookahead=self.chance.randrange(2),
            device_pages=self.chance.randrange(6, 16),
            host_pages=self.chance.choice((8, 24, 64)),
            step_tokens=self.chance.choice((4, 16)),
            max_batch=self.chance.randrange(2, 6),
        )
        self.house = Harness(ready, self.chance.choice(("fair", "fcfs", "mlfq")))

    def walk(self) -> None:
        """All events; everybody must see what an undisturbed run gives."""
        for _ in range(EVENTS):
            with suppress(Error):
                self.event(self.chance.choice(KINDS))
            self.house.check_prefixes()

    def event(self, kind: str) -> None:
        """One random event of a kind. Raises abi errors."""
        house, chance = self.house, self.chance
        pids = [process.pid for process in house.kernel.table if process.alive]
        if not pids or (kind == "spawn" and len(pids) < MOST_PROCESSES):
            house.with_context(
                chance.randrange(1, 24), chance.choice(list(PriorityClass)), first=chance.choice((1, 50))
            )
            return
        self.on_process(kind, chance.choice(pids))

    def on_process(self, kind: str, pid: Pid) -> None:
        """One random event that a process is meant by, or that nobody is."""
        house, chance = self.house, self.chance
        match kind:
            case "step":
                house.step()
            case "plan":
                house.schedule()
            case "generate":
                house.generate(pid, chance.randrange(1, 16), ignore_eos=True, seed=chance.randrange(3))
            case "fork" if len(house.kernel.table) < MOST_PROCESSES:
                house.fork(pid)
            case "stop" | "cont" | "kill":
                house.signal(pid, Signal(kind))
            case "swap_out":
                house.handle(ev.SwapOut(pid))
            case "swap_in":
                house.handle(ev.SwapIn(pid))
            case "truncate":
                house.handle(ev.Truncate(pid, chance.randrange(1, len(house.process(pid).tokens) + 1)))
            case "cancel":
                house.handle(ev.EndGeneration(pid, stopped=False))
            case "throttle":
                house.handle(ev.Throttle(pid, chance.random() < 0.3))
            case "prefetch":
                house.handle(ev.Prefetch(pid))
            case "renice":
                house.handle(ev.Renice(pid, chance.choice(list(PriorityClass)), None, "alice"))
            case "crash" if chance.random() < 0.2:
                house.engine_dies()
                house.engine_up()
            case _:
                house.step()

    def come_to_rest(self) -> None:
        """Let everybody finish; nothing may be left."""
        house = self.house
        for process in [process for process in house.kernel.table if process.alive]:
            house.handle(ev.Throttle(process.pid, on=False))
            house.signal(process.pid, Signal.CONT)
        house.run()
        house.check_prefixes()
        for process in list(house.kernel.table):
            if process.state is not State.EXITED:
                house.signal(process.pid, Signal.KILL)
            house.handle(ev.Reap(process.pid))
        house.run()
        assert all(page.references == 0 for page in house.pager.pages)
        assert house.pager.device.free + house.pager.cached_device == house.pager.device.total
        assert house.pager.host.free + house.pager.cached_host == house.pager.host.total


@pytest.mark.parametrize("number", range(12))
def test_a_long_walk_changes_no_token_and_leaves_no_page(number: int) -> None:
    walk = Walk(number)
    walk.walk()
    walk.come_to_rest()
