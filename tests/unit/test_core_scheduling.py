"""Who runs: classes, preemption, victims, fairness, aging, chunked prefill, policies."""

from __future__ import annotations

import pytest

from llmos.drivers.simulator.engine import simulated_ready
from llmos.kernel.core import events as ev
from llmos.kernel.core.policy import INPUT_COST, OUTPUT_COST, QUANTUM
from llmos.kernel.core.process import RANK
from llmos.kernel.ports.engine import Plan
from llmos.syscalls.abi.words import Pid, PriorityClass, State
from tests.simulation import Harness


def next_plan(house: Harness) -> Plan:
    house.schedule()
    return house.plans[-1]


def test_a_prefill_is_cut_into_chunks_of_the_step() -> None:
    house = Harness(simulated_ready(step_tokens=8))
    pid = house.with_context(20)
    house.generate(pid, 2, ignore_eos=True)
    sizes = []
    while house.step():
        sizes.append(house.process(pid).computed)
    assert sizes[:3] == [8, 16, 20]


def test_decodes_are_never_crowded_out_by_a_prefill() -> None:
    house = Harness(simulated_ready(step_tokens=8))
    first = house.with_context(4)
    house.generate(first, 20, ignore_eos=True)
    house.step()
    second = house.with_context(30)
    house.generate(second, 2, ignore_eos=True)
    plan = next_plan(house)
    assert [len(chunk.tokens) for chunk in plan.chunks] == [1, 7]


def test_a_higher_class_takes_the_slot_of_a_running_lower_one_at_the_next_step() -> None:
    house = Harness(simulated_ready(max_batch=2))
    low = [house.with_context(5, PriorityClass.BATCH) for _ in range(2)]
    for pid in low:
        house.generate(pid, 30, ignore_eos=True)
    house.step()
    urgent = house.with_context(5, PriorityClass.INTERACTIVE)
    house.generate(urgent, 3, ignore_eos=True)
    house.schedule()
    assert house.process(urgent).state is State.RUNNING
    assert house.process(low[1]).state is State.READY, "the newest of the lowest class gives way"
    assert house.process(low[1]).preemptions == 1
    house.run()
    for pid in (*low, urgent):
        assert house.tokens[pid] == house.expected[pid]


def test_a_higher_class_takes_pages_too_and_nothing_is_computed_again() -> None:
    house = Harness(simulated_ready(device_pages=8, host_pages=32, step_tokens=16))
    low = [house.with_context(10, PriorityClass.BATCH, first=1 + 20 * i) for i in range(2)]
    for pid in low:
        house.generate(pid, 5, ignore_eos=True)
    for _ in range(3):
        house.step()
    urgent = house.with_context(20, PriorityClass.INTERACTIVE, first=100)
    house.generate(urgent, 4, ignore_eos=True)
    steps = 0
    while not house.tokens[urgent]:
        house.step()
        steps += 1
    assert steps <= 4
    house.run()
    for pid in (*low, urgent):
        assert house.tokens[pid] == house.expected[pid]
        assert house.process(pid).recomputed_tokens == 0


def test_the_preempted_come_back_before_new_ones_of_their_class() -> None:
    house = Harness(simulated_ready(max_batch=1))
    old = house.with_context(5, PriorityClass.BATCH)
    house.generate(old, 30, ignore_eos=True)
    house.step()
    urgent = house.with_context(5, PriorityClass.INTERACTIVE)
    house.generate(urgent, 2, ignore_eos=True)
    new = house.with_context(5, PriorityClass.BATCH)
    house.generate(new, 2, ignore_eos=True)
    while house.process(urgent).run is not None:
        house.step()
    house.schedule()
    assert house.process(old).state is State.RUNNING
    assert house.process(new).state is State.READY


def test_while_an_urgent_prefill_runs_lower_ones_sit_out_but_not_for_ever() -> None:
    house = Harness(simulated_ready(step_tokens=8, device_pages=64, host_pages=64))
    low = house.with_context(5, PriorityClass.BATCH)
    house.generate(low, 60, ignore_eos=True)
    house.step()
    urgent = house.with_context(150, PriorityClass.INTERACTIVE)
    house.generate(urgent, 1, ignore_eos=True)
    seen = len(house.tokens[low])
    house.step()
    assert len(house.tokens[low]) == seen
    for _ in range(10):
        house.step()
    assert seen < len(house.tokens[low]) <= seen + 2


def test_strict_classes_age_so_that_nobody_starves() -> None:
    house = Harness(simulated_ready(max_batch=1), aging_seconds=0.05)
    patient = house.with_context(3, PriorityClass.IDLE)
    house.generate(patient, 1, ignore_eos=True)
    for _ in range(60):
        if house.process(patient).run is None:
            break
        busy = house.with_context(3, PriorityClass.NORMAL)
        house.generate(busy, 3, ignore_eos=True)
        for _ in range(3):
            house.step()
    assert house.tokens[patient] == house.expected[patient]


def test_what_was_gained_by_waiting_ends_with_the_generation_that_waited() -> None:
    house = Harness(simulated_ready(max_batch=1), aging_seconds=0.05)
    busy, patient = house.with_context(3), house.with_context(3, PriorityClass.BATCH)
    house.generate(busy, 20, ignore_eos=True)
    house.step()
    house.generate(patient, 2, ignore_eos=True)
    house.now += 0.06
    house.schedule()
    assert house.process(patient).rank > RANK[PriorityClass.BATCH]
    house.run()
    assert house.tokens[patient] == house.expected[patient]
    assert house.process(patient).rank == RANK[PriorityClass.BATCH]


def served(house: Harness, pids: list[Pid]) -> list[int]:
    return [house.process(pid).generated_tokens for pid in pids]


def test_two_principals_share_a_class_evenly_whatever_the_number_of_their_processes() -> None:
    house = Harness(simulated_ready(max_batch=1, device_pages=64, host_pages=2048, context_limit=8192))
    many = [house.with_context(3, principal="alice") for _ in range(3)]
    single = house.with_context(3, principal="bob")
    for pid in (*many, single):
        house.generate(pid, 100, ignore_eos=True)
    for _ in range(4000):
        for pid in (*many, single):
            if house.process(pid).run is None:
                house.handle(ev.Truncate(pid, 3))
                house.generate(pid, 100, ignore_eos=True)
        house.step()
    alice, bob = sum(served(house, many)), house.process(single).generated_tokens
    assert alice + bob > 3500
    assert abs(alice - bob) <= QUANTUM / OUTPUT_COST, "unshared, alice would have three times as much"


def test_a_process_yields_to_one_of_its_class_that_got_much_less_and_not_before() -> None:
    house = Harness(simulated_ready(max_batch=1, device_pages=600, host_pages=2048, context_limit=8192))
    first, second = house.with_context(3), house.with_context(3)
    house.generate(first, 2000, ignore_eos=True)
    house.step()
    house.generate(second, 2000, ignore_eos=True)
    while house.process(first).preemptions == 0:
        house.step()
    ahead = house.process(first).service - house.process(second).service
    a_step = 3 * INPUT_COST + OUTPUT_COST
    assert QUANTUM - a_step < ahead <= QUANTUM + a_step


def test_the_queue_of_equal_weight_prefers_who_got_less() -> None:
    house = Harness(simulated_ready(max_batch=1))
    first = house.with_context(3)
    house.generate(first, 5, ignore_eos=True)
    house.run()
    second = house.with_context(3)
    house.generate(first, 1, ignore_eos=True)
    house.generate(second, 1, ignore_eos=True)
    house.schedule()
    assert house.process(first).service > house.process(second).service


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("fcfs", [0, 1, 2]), ("priority", [2, 1, 0]), ("edf", [1, 2, 0])],
)
def test_policies_order_inside_a_class(policy: str, expected: list[int]) -> None:
    house = Harness(simulated_ready(max_batch=1), policy=policy)
    pids = [house.spawn(weight=weight, deadline=deadline) for weight, deadline in ((100, None), (200, 1.0), (300, 2.0))]
    for pid in pids:
        house.append(pid, (1, 2))
        house.generate(pid, 1, ignore_eos=True)
    order: list[Pid] = []
    while house.step():
        order += [pid for pid in pids if pid in house.ended and pid not in order]
    assert [pids.index(pid) for pid in order] == expected


def test_realtime_goes_by_deadline_under_every_policy() -> None:
    house = Harness(simulated_ready(max_batch=1), policy="fair")
    late = house.spawn(priority=PriorityClass.REALTIME, deadline=9.0)
    early = house.spawn(priority=PriorityClass.REALTIME, deadline=3.0)
    for pid in (late, early):
        house.append(pid, (1, 2))
        house.generate(pid, 2, ignore_eos=True)
    house.schedule()
    assert house.process(early).state is State.RUNNING


def test_renice_moves_a_waiting_process_to_its_new_place() -> None:
    house = Harness(simulated_ready(max_batch=1))
    running, waiting = house.with_context(), house.with_context()
    house.generate(running, 20, ignore_eos=True)
    house.generate(waiting, 2, ignore_eos=True)
    house.step()
    house.handle(ev.Renice(waiting, PriorityClass.REALTIME, None, "alice"))
    house.schedule()
    assert house.process(waiting).state is State.RUNNING


def test_a_reader_that_does_not_keep_up_stops_only_its_own_process() -> None:
    house = Harness()
    slow, other = house.with_context(), house.with_context()
    house.generate(slow, 20, ignore_eos=True)
    house.generate(other, 20, ignore_eos=True)
    house.step()
    house.handle(ev.Throttle(slow, on=True))
    house.run()
    assert house.tokens[other] == house.expected[other]
    assert len(house.tokens[slow]) < 20
    house.handle(ev.Throttle(slow, on=False))
    house.run()
    assert house.tokens[slow] == house.expected[slow]


def test_with_lookahead_two_plans_are_in_flight_and_the_tokens_are_the_same() -> None:
    house = Harness(simulated_ready(lookahead=1))
    pid = house.with_context()
    house.generate(pid, 12, ignore_eos=True)
    house.schedule()
    assert len(house.plans) == 2
    assert house.plans[1].chunks[0].tokens == ()
    house.run()
    assert house.tokens[pid] == house.expected[pid]
