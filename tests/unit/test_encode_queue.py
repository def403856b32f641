"""Whose texts an encoder takes next: order of classes, turns of principals, what a lost encoder costs."""

from __future__ import annotations

from itertools import pairwise

import pytest

from llmos.kernel.core.encoding import MOST_DEATHS, MOST_TEXTS, Batch, EncodeJob, EncodeQueue, make_job
from llmos.syscalls.abi.errors import TryAgain
from llmos.syscalls.abi.words import PriorityClass

BUDGET = 100
TEN_TOKENS = "x" * 24
"""Counts as ten: eight for its bytes, two for its frame."""


def job(principal: str, texts: int = 1, priority: PriorityClass = PriorityClass.NORMAL) -> EncodeJob:
    """Texts of ten tokens each."""
    return make_job(principal, priority, [TEN_TOKENS] * texts)


def queue_of(*jobs: EncodeJob) -> EncodeQueue:
    """A queue that was given these jobs, in order."""
    queue = EncodeQueue()
    for each in jobs:
        queue.add(each)
    return queue


def shape(batch: Batch) -> list[tuple[str, int]]:
    """Whose texts are in a batch, and how many."""
    return [(part.job.principal, part.end - part.first) for part in batch]


def test_an_empty_queue_has_no_batch() -> None:
    assert EncodeQueue().next(BUDGET) == ()


def test_a_long_job_is_cut_into_batches_of_the_budget_and_ends_with_its_rest() -> None:
    long = job("ann", 25)
    queue = queue_of(long)
    shapes = []
    while batch := queue.next(BUDGET):
        shapes.append(shape(batch))
        finished = queue.finished(batch)
    assert shapes == [[("ann", 10)], [("ann", 10)], [("ann", 5)]]
    assert finished == [long]
    assert queue.texts == 0


def test_a_higher_class_goes_first_and_shares_no_batch_with_a_lower_one() -> None:
    queue = queue_of(job("ann", 3, PriorityClass.BATCH), job("bob", 1, PriorityClass.INTERACTIVE))
    first = queue.next(BUDGET)
    assert shape(first) == [("bob", 1)]
    queue.finished(first)
    assert shape(queue.next(BUDGET)) == [("ann", 3)]


def test_a_single_query_waits_for_one_batch_of_anothers_long_job_and_shares_none_with_it() -> None:
    queue = queue_of(job("ann", 10_000))
    under_way = queue.next(BUDGET)
    queue.add(job("bob"))
    queue.finished(under_way)
    assert shape(queue.next(BUDGET)) == [("bob", 1)]


def test_a_single_query_waits_for_one_batch_however_many_long_jobs_there_are() -> None:
    queue = queue_of(*(job(f"giant{number}", 5_000) for number in range(5)))
    for _ in range(7):
        queue.finished(queue.next(BUDGET))
    under_way = queue.next(BUDGET)
    queue.add(job("bob"))
    queue.finished(under_way)
    assert shape(queue.next(BUDGET)) == [("bob", 1)]


def test_short_jobs_of_several_principals_are_encoded_together_by_turns() -> None:
    queue = queue_of(job("ann", 2), job("ann", 2), job("bob", 2), job("cid", 2), job("cid", 4))
    batch = queue.next(BUDGET)
    assert shape(batch) == [("ann", 2), ("bob", 2), ("cid", 2), ("ann", 2)]


def test_two_long_jobs_take_turns() -> None:
    queue = queue_of(job("ann", 100), job("bob", 100))
    served = []
    for _ in range(6):
        batch = queue.next(BUDGET)
        served += [name for name, _ in shape(batch)]
        queue.finished(batch)
    assert sorted(served) == ["ann"] * 3 + ["bob"] * 3
    assert all(one != other for one, other in pairwise(served))


def test_a_text_longer_than_the_budget_goes_alone() -> None:
    queue = queue_of(make_job("ann", PriorityClass.NORMAL, ["y" * 3000, TEN_TOKENS]))
    assert shape(queue.next(BUDGET)) == [("ann", 1)]


def test_no_text_counts_for_more_than_the_model_takes() -> None:
    queue = queue_of(make_job("ann", PriorityClass.NORMAL, ["y" * 30_000] * 4))
    queue.max_tokens = 50
    assert shape(queue.next(BUDGET)) == [("ann", 2)]


def test_letters_of_several_bytes_count_for_their_bytes() -> None:
    assert make_job("ann", PriorityClass.NORMAL, ["a", "é", "語", "\ud800"]).sizes == (1, 2, 3, 3)


def test_a_job_that_is_dropped_is_not_encoded_and_what_is_under_way_of_it_is_no_matter() -> None:
    ann, bob = job("ann", 30), job("bob")
    queue = queue_of(ann)
    under_way = queue.next(BUDGET)
    queue.add(bob)
    queue.drop(ann)
    queue.drop(ann)
    assert queue.finished(under_way) == []
    assert list(queue) == [bob]
    assert queue.texts == 1


def test_what_an_encoder_died_with_is_done_again_alone() -> None:
    ann, bob = job("ann"), job("bob")
    queue = queue_of(ann, bob)
    both = queue.next(BUDGET)
    assert len(both) == 2
    assert queue.lost(both) == []
    again = [queue.next(BUDGET)]
    queue.finished(again[0])
    again.append(queue.next(BUDGET))
    queue.finished(again[1])
    assert sorted(shape(again[0]) + shape(again[1])) == [("ann", 1), ("bob", 1)]
    assert [len(batch) for batch in again] == [1, 1]


def test_a_job_with_which_too_many_encoders_died_is_given_up() -> None:
    bad = job("ann")
    queue = queue_of(bad)
    assert [queue.lost(queue.next(BUDGET)) for _ in range(MOST_DEATHS)] == [[]] * (MOST_DEATHS - 1) + [[bad]]
    assert queue.next(BUDGET) == ()
    assert queue.texts == 0


def test_a_job_that_gets_on_is_forgiven_its_deaths() -> None:
    long = job("ann", 100)
    queue = queue_of(long)
    for _ in range(MOST_DEATHS * 2):
        assert queue.lost(queue.next(BUDGET)) == []
        queue.finished(queue.next(BUDGET))
    assert long.deaths == 0


def test_a_principal_with_too_much_waiting_is_told_what_to_do_and_others_are_not_touched() -> None:
    queue = queue_of(*(job("ann", 1024) for _ in range(MOST_TEXTS // 1024)))
    with pytest.raises(TryAgain, match=f"you have {MOST_TEXTS} texts") as caught:
        queue.add(job("ann"))
    assert caught.value.hint == "wait for the answer of an earlier call, then send more"
    queue.add(job("bob"))
    queue.finished(queue.next(BUDGET))
    queue.finished(queue.next(BUDGET))
    queue.add(job("ann"))


def test_one_call_may_be_larger_than_what_may_wait_when_nothing_waits() -> None:
    queue = queue_of(make_job("ann", PriorityClass.NORMAL, ["z" * (1 << 15)] * 1024))
    with pytest.raises(TryAgain):
        queue.add(job("ann"))
