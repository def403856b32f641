"""What a plan may do with pages and sequences, and what it may not."""

from __future__ import annotations

import pytest
import torch

from llmos.drivers.engine.runner import PlanError
from llmos.kernel.ports.engine import Chunk, Direction, Move, MoveId, Open, SamplingParameters, SequenceId
from tests.engine.conftest import ModelDirectory
from tests.engine.plan_driver import TOP, PlanDriver, Tracked
from tests.engine.test_paged_equals_eager import prompt


def swap_out_and_in(driver: PlanDriver, tracked: Tracked) -> None:
    """Take a sequence's pages to the host, overwrite them, and bring them back into other slots."""
    out = [driver.move(Direction.DEVICE_TO_HOST, slot, index + 1) for index, slot in enumerate(tracked.pages)]
    shifted = [driver.move(Direction.HOST_TO_HOST, index + 1, index + 17) for index in range(len(out))]
    assert driver.plan(moves=[*out, *shifted]).moved == tuple(move.id for move in (*out, *shifted))
    for slot in tracked.pages:
        driver.runner._pools.device[slot].fill_(9.0)
    fresh = [driver.free.pop(0) for _ in tracked.pages]
    driver.plan(moves=[driver.move(Direction.HOST_TO_DEVICE, index + 17, slot) for index, slot in enumerate(fresh)])
    driver.free += tracked.pages
    tracked.pages, tracked.unsent = fresh, 0


def test_pages_that_went_to_the_host_and_back_to_other_slots_continue_exactly(driver: PlanDriver) -> None:
    undisturbed = driver.generate(prompt(1, 30), 20)
    tracked = driver.open(prompt(1, 30))
    driver.prefill(tracked)
    for step in range(19):
        if step % 5 == 0:
            swap_out_and_in(driver, tracked)
        driver.decode(tracked)
    assert tracked.tokens[30:] == undisturbed


def test_a_fork_shares_sealed_pages_and_copies_the_tail(driver: PlanDriver) -> None:
    parent = driver.open(prompt(4, 29))
    driver.prefill(parent)
    child = Tracked(SequenceId(1000), list(parent.tokens), parent.fed, [*parent.pages[:-1], driver.free.pop()])
    copied = driver.move(Direction.DEVICE_TO_DEVICE, parent.pages[-1], child.pages[-1])
    driver.plan(moves=[copied], opened=[Open(child.id, TOP)])
    child.tokens[-1] = (child.tokens[-1] + 1) % 100 + 6
    for _ in range(15):
        driver.decode(parent, child)
    assert parent.tokens[29:] == driver.generate(prompt(4, 29), 16)
    assert child.tokens[30:] == driver.generate(child.tokens[:30], 15)


def test_the_last_sampled_token_can_be_fed_without_the_kernel_naming_it(driver: PlanDriver) -> None:
    tracked = driver.open(prompt(5, 12))
    driver.prefill(tracked)
    for _ in range(10):
        driver.decode(tracked, fed_back=True)
    assert tracked.tokens[12:] == driver.generate(prompt(5, 12), 11)


def test_a_rewound_sequence_overwrites_its_tail(driver: PlanDriver) -> None:
    tracked = driver.open(prompt(6, 40))
    driver.prefill(tracked)
    tracked.tokens[19:] = prompt(7, 4)
    tracked.fed = 19
    tracked.unsent = 3
    driver.free += tracked.pages[3:]
    del tracked.pages[3:]
    driver.prefill(tracked)
    assert tracked.tokens[-1:] == driver.generate(tracked.tokens[:-1], 1)


def test_draws_depend_on_seed_and_position_and_not_on_the_batch(driver: PlanDriver) -> None:
    sampling = [SamplingParameters(temperature=1.3, top_p=0.95, seed=seed) for seed in (1, 2, 1)]
    alone = [driver.generate(prompt(8, 20), 12, entry) for entry in sampling]
    sequences = [driver.open(prompt(8, 20), entry) for entry in sampling]
    for entry in sequences:
        driver.prefill(entry)
    for _ in range(11):
        driver.decode(*sequences)
    assert [entry.tokens[20:] for entry in sequences] == alone
    assert alone[0] == alone[2] != alone[1]


def test_banned_tokens_are_never_chosen(driver: PlanDriver) -> None:
    free = driver.generate(prompt(9, 10), 10)
    bound = driver.generate(prompt(9, 10), 10, SamplingParameters(banned=tuple(set(free))))
    assert not set(free) & set(bound)


def test_a_sequence_whose_pages_are_no_numbers_breaks_alone_and_leaves_clean_pages(driver: PlanDriver) -> None:
    healthy, broken = driver.open(prompt(10, 20)), driver.open(prompt(11, 20))
    driver.prefill(healthy)
    driver.prefill(broken)
    for slot in broken.pages:
        driver.runner._pools.device[slot].fill_(torch.nan)
    outcome = driver.plan([driver.chunk(entry, 1, sample=True) for entry in (healthy, broken)])
    assert [entry.sequence for entry in outcome.broken] == [broken.id]
    assert "not numbers" in outcome.broken[0].message
    driver.take(healthy, outcome)
    on_its_way = driver.plan([driver.chunk(broken, 1, sample=True, fed_back=True)])
    assert [entry.sequence for entry in on_its_way.broken] == [broken.id]
    assert healthy.tokens[20:] == driver.generate(prompt(10, 20), 2)
    driver.plan(closed=[broken.id])
    driver.free = broken.pages
    assert driver.generate(prompt(10, 20), 2) == healthy.tokens[20:]


def test_a_step_of_prefill_chunks_that_sample_nothing_reports_nothing(driver: PlanDriver) -> None:
    tracked = driver.open(prompt(12, 20))
    outcome = driver.plan([driver.chunk(tracked, 10, sample=False)])
    assert not outcome.sampled
    assert not outcome.broken
    assert outcome.seconds > 0


def test_an_engine_says_what_it_is(driver: PlanDriver, model_directory: ModelDirectory) -> None:
    ready = driver.ready
    assert (ready.device, ready.dtype, ready.weights) == ("cpu", "float32", "exact")
    assert ready.page_bytes == 3 * 2 * 8 * 2 * 8 * 4
    assert ready.host_pages == (1 << 20) // ready.page_bytes
    assert (ready.end_tokens, ready.context_limit, ready.vocabulary) == ((5,), 512, 160)
    again = PlanDriver(model_directory("llama"), page_tokens=16).ready
    assert again.fingerprint != ready.fingerprint


FIRST = SequenceId(1)


@pytest.mark.parametrize(
    ("chunk", "complaint"),
    [
        (Chunk(SequenceId(9), 0, (7,), 0, (1,), True), "never opened"),
        (Chunk(FIRST, 0, (), 0, (1,), True), "sampled none"),
        (Chunk(FIRST, 0, (7,), 1, (1,), True), "none from 1"),
        (Chunk(FIRST, 0, (7,) * 9, 0, (1,), True), "too few for 9 tokens"),
        (Chunk(FIRST, 0, (7,), 0, (96,), True), "pool of 96 pages"),
        (Chunk(FIRST, 0, (160,), 0, (1,), True), "token 160"),
        (Chunk(FIRST, -1, (7,), 0, (1,), True), "position -1"),
    ],
)
def test_a_chunk_that_cannot_be_is_refused_loudly(driver: PlanDriver, chunk: Chunk, complaint: str) -> None:
    driver.open([7])
    with pytest.raises(PlanError, match=complaint):
        driver.plan([chunk])


def test_moves_outside_a_pool_and_double_opens_are_refused_loudly(driver: PlanDriver) -> None:
    with pytest.raises(PlanError, match="slot 96"):
        driver.plan(moves=[Move(MoveId(1), Direction.DEVICE_TO_HOST, 96, 0)])
    with pytest.raises(PlanError, match="slot -1"):
        driver.plan(moves=[Move(MoveId(1), Direction.HOST_TO_DEVICE, -1, 0)])
    driver.open([7])
    with pytest.raises(PlanError, match="opened twice"):
        driver.plan(opened=[Open(FIRST, TOP)])
    with pytest.raises(PlanError, match="never opened"):
        driver.plan(closed=[SequenceId(5)])
