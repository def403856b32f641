"""Contexts that do not fit get an honest answer with numbers, and whoever fits goes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import llmos
from tests.e2e.conftest import EXACT
from tests.e2e.daemon_process import start_daemon
from tests.e2e.greedy_reference import Reference, ties
from tests.e2e.house import House, greedy, house

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

DEVICE_PAGES, HOST_PAGES, PAGE_TOKENS = 6, 8, 32


@pytest.fixture(scope="module")
def tiny_daemon(model: object) -> Iterator[House]:
    """Room for 448 tokens in all."""
    daemon = start_daemon(*EXACT, f"engine.device_pages={DEVICE_PAGES}", 'engine.host_memory="12 MiB"')
    try:
        with house(daemon) as lived:
            yield lived
        daemon.stop()
    finally:
        daemon.destroy()


@pytest.fixture
def tiny(tiny_daemon: House) -> Iterator[House]:
    """The daemon with tiny pools."""
    with house(tiny_daemon.daemon) as lived:
        assert (lived.engine.device_pages, lived.engine.host_pages) == (DEVICE_PAGES, HOST_PAGES)
        yield lived


def tokens_of(reference: Reference, index: int, count: int) -> tuple[int, ...]:
    """The beginning of a text."""
    return max(reference.varied, key=lambda one: len(one.prompt)).prompt[index : index + count]


def test_a_context_larger_than_the_device_pool_is_refused_with_numbers(tiny: House, reference: Reference) -> None:
    process = tiny.context(tokens_of(reference, 0, (DEVICE_PAGES + 1) * PAGE_TOKENS))
    with pytest.raises(llmos.OutOfPages, match=r"8 pages.*6") as refused:
        greedy(process, 4).result()
    assert refused.value.hint
    process.truncate(40)
    assert len(greedy(process, 4).result().token_ids) == 4


def test_a_generation_that_outgrows_the_device_pool_ends_with_numbers(tiny: House, reference: Reference) -> None:
    process = tiny.context(tokens_of(reference, 0, DEVICE_PAGES * PAGE_TOKENS - 8))
    with pytest.raises(llmos.OutOfPages, match="the device has 6 pages"):
        greedy(process, 64).result()
    kept = process.read().token_ids
    assert len(kept) > DEVICE_PAGES * PAGE_TOKENS - 8
    process.truncate(64)
    assert len(greedy(process, 4).result().token_ids) == 4


def test_when_both_pools_are_full_the_next_context_is_refused_with_numbers(tiny: House, reference: Reference) -> None:
    beside = reference.varied[-1]
    filling = [tiny.context(tokens_of(reference, index, 4 * PAGE_TOKENS)) for index in range(1, 5)]
    for process in filling[:3]:
        greedy(process, 1).result()
    with pytest.raises(llmos.OutOfPages, match=r"the device has 6 pages, the host 8"):
        greedy(filling[3], 1).result()
    for process in filling[:2]:
        process.kill()
        process.wait()
    _, generation = tiny.begin(beside)
    assert ties(beside, generation.result().token_ids) <= 1


def test_contexts_of_twice_the_device_pool_take_turns_and_stay_exact(tiny: House, reference: Reference) -> None:
    wanted = [one for one in reference.varied if len(one.prompt) <= 65]
    begun = [(one, tiny.begin(one)[1]) for one in wanted[-4:]]
    assert sum(ties(one, generation.result().token_ids) for one, generation in begun) <= 1


def test_swapping_out_without_room_in_host_says_so_and_loses_nothing(tiny: House, reference: Reference) -> None:
    wanted = next(one for one in reference.varied if len(one.prompt) == 65)
    fill = [tiny.context(tokens_of(reference, index, 4 * PAGE_TOKENS)) for index in (1, 2)]
    for process in fill:
        greedy(process, 1).result()
        process.swap_out()
    process, generation = tiny.begin(wanted, 8)
    head = generation.result().token_ids
    with pytest.raises(llmos.OutOfPages, match="the host 8"):
        process.swap_out()
    tail = greedy(process, len(wanted.tokens) - 8).result().token_ids
    assert ties(wanted, head + tail) <= 1
