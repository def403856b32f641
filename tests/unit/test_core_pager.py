"""Pages: sharing, copy on write, swap, write-behind, crash, and the honest end when there is no room."""

from __future__ import annotations

import pytest

from llmos.drivers.simulator.engine import simulated_ready
from llmos.kernel.core import effects as fx
from llmos.kernel.core import events as ev
from llmos.kernel.core.sharing import Breadth, ShareScope, content_id, scope_key
from llmos.kernel.core.views import page_counts
from llmos.kernel.ports.engine import Direction
from llmos.syscalls.abi.errors import Busy, OutOfPages
from llmos.syscalls.abi.words import Pid, PriorityClass, Signal
from tests.simulation import Harness


def generated(house: Harness, length: int = 10, tokens: int = 3) -> Pid:
    """A process that has generated something."""
    pid = house.with_context(length)
    house.generate(pid, tokens, ignore_eos=True)
    house.run()
    return pid


def test_full_pages_are_sealed_and_copied_behind_and_the_tail_is_not() -> None:
    house = Harness()
    pid = generated(house, 10, 3)
    counts = page_counts(house.process(pid))
    assert (counts.device, counts.host, counts.dirty) == (3, 3, 0)
    pid = generated(house, 9, 2)
    counts = page_counts(house.process(pid))
    assert counts.dirty == 1, "nine tokens fill two pages of four, the third is the tail"


def test_a_fork_copies_no_page_and_a_write_copies_the_shared_tail_only() -> None:
    house = Harness()
    parent = generated(house, 10, 2)
    used = len(house.pager.pages)
    (child,) = house.fork(parent)
    assert len(house.pager.pages) == used
    assert page_counts(house.process(child)).shared == 3
    house.generate(child, 6, ignore_eos=True)
    house.generate(parent, 6, ignore_eos=True, seed=7)
    house.run()
    assert house.pager.counters.copied == 1
    assert house.tokens[child] == house.expected[child]
    assert house.tokens[parent] == house.expected[parent]


def test_a_prefix_is_shared_inside_a_principal_and_never_across() -> None:
    house = Harness()
    generated(house, 17)
    same = house.with_context(17)
    house.generate(same, 2, ignore_eos=True)
    house.run()
    ended = house.ended[same]
    assert isinstance(ended, fx.Finished)
    assert ended.usage.cached_tokens == 16
    other = house.with_context(17, principal="bob")
    house.generate(other, 2, ignore_eos=True)
    house.run()
    ended = house.ended[other]
    assert isinstance(ended, fx.Finished)
    assert ended.usage.cached_tokens == 0


def test_the_pages_of_the_dead_serve_as_a_cache_until_they_are_needed() -> None:
    house = Harness()
    pid = generated(house, 17)
    house.signal(pid, Signal.KILL)
    assert all(page.references == 0 for page in house.pager.pages)
    assert house.pager.cached_device == 4
    again = house.with_context(17)
    house.generate(again, 1, ignore_eos=True)
    house.run()
    ended = house.ended[again]
    assert isinstance(ended, fx.Finished)
    assert ended.usage.cached_tokens == 16


def test_content_ids_depend_on_scope_parent_and_tokens() -> None:
    alice, bob = (
        scope_key(b"secret", ShareScope(Breadth.PRINCIPAL, "default", "", name), Pid(2)) for name in ("alice", "bob")
    )
    assert len({content_id(key, parent, (1, 2)) for key in (alice, bob) for parent in (b"", b"x")}) == 4
    assert content_id(alice, b"", (1, 2)) != content_id(alice, b"", (2, 1))


def test_swap_out_moves_the_pages_and_a_later_generation_brings_them_back() -> None:
    house = Harness()
    pid = generated(house, 10, 2)
    house.handle(ev.SwapOut(pid))
    house.run()
    assert house.settled == [fx.SwapSettled(pid, 3, "")]
    counts = page_counts(house.process(pid))
    assert (counts.device, counts.host) == (0, 3)
    house.generate(pid, 5, ignore_eos=True)
    house.run()
    assert house.tokens[pid] == house.expected[pid]
    process = house.process(pid)
    assert (process.recomputed_tokens, process.swapped_in_pages, process.swapped_out_pages) == (0, 3, 3)


def test_swapping_out_in_mid_generation_only_interrupts_it() -> None:
    house = Harness()
    pid = house.with_context(10)
    house.generate(pid, 12, ignore_eos=True)
    for _ in range(4):
        house.step()
    house.handle(ev.SwapOut(pid))
    with pytest.raises(Busy, match="moved already"):
        house.handle(ev.SwapOut(pid))
    house.run()
    assert house.tokens[pid] == house.expected[pid]
    assert house.process(pid).recomputed_tokens == 0


def test_swap_in_brings_pages_back_ahead_of_need() -> None:
    house = Harness()
    pid = generated(house, 10, 2)
    house.handle(ev.SwapOut(pid))
    house.run()
    house.handle(ev.SwapIn(pid))
    house.run()
    assert house.settled[-1] == fx.SwapSettled(pid, 3, "")
    assert page_counts(house.process(pid)).device == 3


def test_rewinding_into_a_sealed_page_and_going_on_differently_is_right() -> None:
    house = Harness()
    pid = generated(house, 10, 6)
    (child,) = house.fork(pid)
    for process in (pid, child):
        house.handle(ev.Truncate(process, 6))
        house.append(process, (50 + process, 51))
        house.generate(process, 5, ignore_eos=True)
    house.run()
    for process in (pid, child):
        assert house.tokens[process] == house.expected[process]


def test_a_crash_loses_nothing_that_host_has_and_no_client_sees_a_difference() -> None:
    house = Harness()
    pids = [house.with_context(10, first=1 + 30 * i) for i in range(3)]
    for pid in pids:
        house.generate(pid, 10, ignore_eos=True)
    for _ in range(5):
        house.step()
    house.engine_dies()
    host_tokens = [house.process(pid).computed for pid in pids]
    assert all(tokens >= 8 for tokens in host_tokens)
    house.engine_up()
    house.run()
    for pid in pids:
        assert house.tokens[pid] == house.expected[pid]
        assert 0 < house.process(pid).recomputed_tokens < 8


def test_a_copy_that_was_under_way_at_a_crash_does_not_count() -> None:
    house = Harness()
    pid = house.with_context(9)
    house.generate(pid, 4, ignore_eos=True)
    house.step()
    house.schedule()
    assert any(move.direction is Direction.DEVICE_TO_HOST for move in house.plans[-1].moves)
    house.engine_dies()
    assert house.process(pid).computed == 0
    house.engine_up()
    house.run()
    assert house.tokens[pid] == house.expected[pid]


def test_four_times_overcommitted_all_finish_and_nothing_is_computed_again() -> None:
    house = Harness(simulated_ready(device_pages=12, host_pages=64, step_tokens=16))
    pids = [house.with_context(16, PriorityClass.BATCH, first=1 + 30 * i) for i in range(8)]
    for pid in pids:
        house.generate(pid, 8, ignore_eos=True)
    house.run()
    for pid in pids:
        assert house.tokens[pid] == house.expected[pid]
        assert house.process(pid).recomputed_tokens == 0


def test_a_context_beyond_the_device_pool_is_refused_with_numbers() -> None:
    house = Harness(simulated_ready(device_pages=4))
    pid = house.with_context(30)
    with pytest.raises(OutOfPages, match=r"8 pages; the device pool has 4, the host pool 32"):
        house.generate(pid)


def test_when_neither_tier_has_room_the_generation_ends_with_the_numbers() -> None:
    house = Harness(simulated_ready(device_pages=6, host_pages=2))
    pids = [house.with_context(12, first=1 + 30 * i) for i in range(4)]
    for pid in pids:
        house.generate(pid, 8, ignore_eos=True)
    house.run()
    failed = [house.ended[pid] for pid in pids if isinstance(house.ended[pid], fx.Failed)]
    assert failed
    for end in failed:
        assert isinstance(end, fx.Failed)
        assert isinstance(end.error, OutOfPages)
        assert "the device has 6 pages, the host 2" in end.error.message
    house.check_prefixes()


def test_will_need_computes_ahead_and_the_generation_finds_it_done() -> None:
    house = Harness()
    pid = house.with_context(14)
    house.handle(ev.Prefetch(pid))
    house.run()
    assert house.process(pid).computed == 13
    house.generate(pid, 3, ignore_eos=True)
    house.run()
    ended = house.ended[pid]
    assert isinstance(ended, fx.Finished)
    assert ended.usage.cached_tokens == 13
    assert house.tokens[pid] == house.expected[pid]


def test_appending_while_it_is_computed_ahead_is_fine() -> None:
    house = Harness(simulated_ready(step_tokens=4))
    pid = house.with_context(14)
    house.handle(ev.Prefetch(pid))
    house.step()
    house.append(pid, (7, 8, 9))
    house.generate(pid, 3, ignore_eos=True)
    house.run()
    assert house.tokens[pid] == house.expected[pid]


def test_a_process_in_whose_steps_engine_after_engine_dies_is_given_up_and_the_others_go_on() -> None:
    house = Harness()
    bad = house.with_context(10)
    house.generate(bad, 10, ignore_eos=True)
    for _ in range(3):
        house.schedule()
        house.engine_dies()
        house.engine_up()
    ended = house.ended[bad]
    assert isinstance(ended, fx.Failed)
    assert "3 engines in a row died" in ended.error.message
    good = house.with_context(10)
    house.generate(good, 5, ignore_eos=True)
    house.run()
    assert house.tokens[good] == house.expected[good]


def test_an_engine_that_dies_between_good_steps_is_nobodys_fault() -> None:
    house = Harness()
    pid = house.with_context(10)
    house.generate(pid, 10, ignore_eos=True)
    for _ in range(6):
        house.step()
        house.schedule()
        house.engine_dies()
        house.engine_up()
    house.run()
    assert house.tokens[pid] == house.expected[pid]
