"""Readers that leave, stop reading, cancel or run out of time cost only their own process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

import llmos
from tests.e2e.greedy_reference import Continuation, Reference, ties
from tests.e2e.house import House, greedy
from tests.e2e.raw_client import raw_client, unpacked

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

MOST_LOOKS = 400


def work_until(house: House, beside: Continuation, seen: Callable[[], bool]) -> None:
    """Generate beside, correctly, until something has come about: the time passes in work, not in sleep."""
    for _ in range(MOST_LOOKS):
        _, generation = house.begin(beside, 4)
        assert ties(beside, generation.result().token_ids) <= 1
        if seen():
            return
    raise AssertionError("it did not come about")


def test_a_reader_that_leaves_in_mid_stream_ends_its_generation_only(roomy: House, reference: Reference) -> None:
    wanted, beside = reference.equal[1], reference.varied[-1]
    process = roomy.context(wanted.prompt)
    with roomy.daemon.connect() as leaving:
        generation = greedy(leaving.process(process.pid), 4000)
        next(generation)
    work_until(roomy, beside, lambda: process.info().state is llmos.State.WAITING)
    has = process.read().token_ids
    assert len(has) < len(wanted.prompt) + 4000
    ties(wanted, has[len(wanted.prompt) :])
    held = process.info().pages.device
    assert held > 0
    free = roomy.spare_device_pages()
    process.kill()
    process.wait()
    work_until(roomy, beside, lambda: roomy.spare_device_pages() >= free + 1)


def test_a_reader_that_stops_reading_holds_up_its_own_process_only(roomy: House, reference: Reference) -> None:
    wanted, beside = reference.equal[2], reference.varied[-1]
    process = roomy.context(wanted.prompt)
    count = 300
    sampling = {"max_tokens": count, "ignore_eos": True}
    with raw_client(roomy.daemon.endpoint, roomy.daemon.key()) as client:
        id = client.start("gen.generate", {"pid": process.pid, "sampling": sampling, "window": 3})
        work_until(roomy, beside, lambda: process.info().waiting_for == "its reader")
        assert process.info().state is llmos.State.WAITING
        assert len(process.read().token_ids) < len(wanted.prompt) + count
        tokens: list[int] = []
        while "ev" in (frame := client.read()):
            chunk = unpacked(frame, "ev")["token_ids"]
            assert isinstance(chunk, list)
            tokens += chunk
            client.credit(id, 1)
        done = unpacked(frame, "ok")
    assert done["token_ids"] == tokens
    assert len(tokens) == count
    ties(wanted, tokens)
    assert process.read().token_ids == wanted.prompt + tuple(tokens)


def test_a_reader_without_a_window_gets_the_whole_at_the_end(roomy: House, reference: Reference) -> None:
    wanted = reference.varied[-1]
    process = roomy.context(wanted.prompt)
    sampling = {"max_tokens": len(wanted.tokens), "ignore_eos": True}
    with raw_client(roomy.daemon.endpoint, roomy.daemon.key()) as client:
        frame = client.call("gen.generate", {"pid": process.pid, "sampling": sampling, "window": 0})
    tokens = unpacked(frame, "ok")["token_ids"]
    assert isinstance(tokens, list)
    assert ties(wanted, tokens) <= 1


def test_a_cancelled_generation_keeps_what_it_has(roomy: House, reference: Reference) -> None:
    wanted = reference.equal[3]
    process = roomy.context(wanted.prompt)
    generation = greedy(process, 4000)
    next(generation)
    generation.cancel()
    done = generation.result()
    assert done.finish_reason is llmos.FinishReason.CANCELLED
    assert process.read().token_ids == wanted.prompt + done.token_ids
    again = greedy(process, 8).result()
    ties(wanted, done.token_ids + again.token_ids)


def test_a_generation_out_of_time_keeps_what_it_has(roomy: House, reference: Reference) -> None:
    wanted = reference.equal[4]
    process = roomy.context(wanted.prompt)
    with pytest.raises(llmos.TimedOut):
        process.generate(max_tokens=4000, ignore_eos=True, timeout=1.5).result()
    has = process.read().token_ids
    assert has[: len(wanted.prompt)] == wanted.prompt
    ties(wanted, has[len(wanted.prompt) :])
    assert len(greedy(process, 2).result().token_ids) == 2


def test_waiting_for_a_living_process_and_draining_a_busy_daemon_run_out_of_time(
    roomy: House, reference: Reference
) -> None:
    process, generation = roomy.begin(reference.equal[5])
    with pytest.raises(llmos.TimedOut):
        process.wait(timeout=0.05)
    try:
        with pytest.raises(llmos.TimedOut):
            roomy.system.drain(timeout=0.05)
        assert roomy.system.info().draining
        with pytest.raises(llmos.TryAgain):
            roomy.system.spawn()
        ties(reference.equal[5], generation.result().token_ids)
        roomy.system.drain(timeout=60)
        with pytest.raises(llmos.TryAgain):
            greedy(process, 1).result()
    finally:
        roomy.system.drain(off=True)
    assert len(greedy(process, 1).result().token_ids) == 1


def test_a_killed_process_ends_its_stream_and_its_swap(roomy: House, reference: Reference) -> None:
    process, generation = roomy.begin(reference.equal[6])
    head = next(generation)
    process.kill()
    done = generation.result()
    assert done.finish_reason is llmos.FinishReason.KILLED
    assert done.token_ids[: len(head.token_ids)] == head.token_ids
    assert process.wait().code == 137
    with pytest.raises(llmos.NoSuchProcess):
        process.info()


def test_a_limit_bites_in_mid_generation_and_names_who_set_it(roomy: House, reference: Reference) -> None:
    wanted = reference.equal[7]
    process = roomy.spawn(limits=llmos.Limits(generated_tokens=5))
    process.append(wanted.prompt)
    done = greedy(process, 20).result()
    assert done.finish_reason is llmos.FinishReason.LIMIT
    assert "generated_tokens=5" in done.detail
    assert "admin" in done.detail
    with pytest.raises(llmos.LimitExceeded, match="generated_tokens=5"):
        greedy(process, 1).result()
    process.limit(generated_tokens=None)
    _continue_exactly(process, wanted, done.token_ids)


def _continue_exactly(process: llmos.Process, wanted: Continuation, head: Sequence[int]) -> None:
    tail = greedy(process, 10).result().token_ids
    ties(wanted, (*head, *tail))


def test_a_generation_is_ended_over_another_connection_than_the_one_it_was_begun_over(roomy: House) -> None:
    process = roomy.context([1, 2, 3])

    async def cancel() -> None:
        async with llmos.aconnect(roomy.daemon.endpoint, roomy.daemon.key()) as system:
            await system.process(process.pid).cancel()

    def cancel_here() -> None:
        with roomy.daemon.connect() as system:
            system.process(process.pid).cancel()

    for other in (cancel_here, lambda: asyncio.run(cancel())):
        generation = greedy(process, 4000)
        next(generation)
        other()
        assert generation.result().finish_reason is llmos.FinishReason.CANCELLED
    process.cancel()  # none is under way
    assert len(greedy(process, 1).result().token_ids) == 1
