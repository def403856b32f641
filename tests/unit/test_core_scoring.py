"""Scoring in the core: a context is computed once, its process stays as it is, and nothing is left of a call."""

from __future__ import annotations

import pytest

from llmos.drivers.simulator.engine import simulated_ready
from llmos.kernel.core import effects as fx
from llmos.kernel.core import events as ev
from llmos.syscalls.abi.errors import (
    Busy,
    Cancelled,
    DeviceError,
    InvalidArgument,
    LimitExceeded,
    MessageTooLong,
    NoSuchProcess,
    OutOfPages,
    TryAgain,
)
from llmos.syscalls.abi.words import Limits, Pid, PriorityClass, Signal, State
from tests.simulation import MODEL, Harness

CONTINUATIONS = ((1, 2, 3), (4,), (5, 6, 7, 8, 9, 10))


def failure(house: Harness, call: Pid) -> Exception:
    """Why a scoring failed."""
    ended = house.scored[call]
    assert isinstance(ended, fx.ScoringFailed)
    return ended.error


def living(house: Harness) -> set[Pid]:
    return {process.pid for process in house.kernel.table}


@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("length", [1, 4, 5, 12, 13])
def test_every_continuation_is_scored_and_the_process_stays_as_it_was(length: int, lookahead: int) -> None:
    house = Harness(simulated_ready(lookahead=lookahead))
    pid = house.with_context(length)
    tokens, computed = list(house.process(pid).tokens), house.process(pid).computed
    call = house.score(pid, CONTINUATIONS)
    house.run()
    assert isinstance(house.scored[call], fx.ScoringDone)
    process = house.process(pid)
    assert (process.tokens, process.computed, process.state) == (tokens, computed, State.WAITING)
    assert living(house) == {pid}
    assert not house.exits.keys() & {pid}


def test_the_context_is_computed_once() -> None:
    house = Harness(simulated_ready(step_tokens=32, max_batch=8))
    pid = house.with_context(14)
    house.score(pid, CONTINUATIONS)
    house.run()
    counters = house.kernel.engine(MODEL).counters
    assert counters.prefill_tokens + counters.decode_tokens == 13 + sum(map(len, CONTINUATIONS))
    assert counters.recomputed_tokens == 0


def test_what_the_process_has_computed_is_not_computed_again() -> None:
    house = Harness(simulated_ready(step_tokens=32, max_batch=8))
    pid = house.with_context(14)
    house.handle(ev.Prefetch(pid))
    house.run()
    before = house.kernel.engine(MODEL).counters.prefill_tokens
    call = house.score(pid, CONTINUATIONS)
    assert house.step()
    assert call in house.scored
    counters = house.kernel.engine(MODEL).counters
    assert counters.prefill_tokens + counters.decode_tokens - before == sum(map(len, CONTINUATIONS))


def test_a_generating_process_is_scored_where_it_stands() -> None:
    house = Harness()
    pid = house.with_context(6)
    house.generate(pid, 12, ignore_eos=True)
    for _ in range(4):
        house.step()
    call = house.score(pid, CONTINUATIONS)
    house.run()
    assert isinstance(house.scored[call], fx.ScoringDone)
    house.check_prefixes()
    assert len(house.tokens[pid]) == 12


def test_an_engine_that_dies_costs_time_and_nothing_else() -> None:
    for steps in range(8):
        house = Harness(simulated_ready(step_tokens=4, lookahead=1))
        call = house.score(house.with_context(10), CONTINUATIONS)
        for _ in range(steps):
            house.step()
        house.engine_dies()
        house.engine_up()
        house.run()
        assert isinstance(house.scored[call], fx.ScoringDone)


def test_a_higher_class_goes_first_and_the_scoring_comes_to_its_end() -> None:
    house = Harness(simulated_ready(max_batch=1, step_tokens=4))
    call = house.score(house.with_context(9, PriorityClass.BATCH), CONTINUATIONS)
    house.step()
    urgent = house.with_context(5, PriorityClass.INTERACTIVE)
    house.generate(urgent, 2, ignore_eos=True)
    while urgent not in house.ended:
        assert house.step()
        assert call not in house.scored
    house.run()
    assert isinstance(house.scored[call], fx.ScoringDone)


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 4])
def test_a_cancelled_scoring_leaves_nothing(steps: int) -> None:
    house = Harness(simulated_ready(step_tokens=4))
    pid = house.with_context(10)
    call = house.score(pid, CONTINUATIONS)
    for _ in range(steps):
        house.step()
    house.handle(ev.EndScoring(pid, call))
    assert isinstance(failure(house, call), Cancelled)
    assert living(house) == {pid}
    house.run()
    house.handle(ev.EndScoring(pid, call))
    house.handle(ev.EndScoring(Pid(999), call))


@pytest.mark.parametrize("steps", [0, 2, 4])
def test_the_end_of_the_process_ends_its_scoring(steps: int) -> None:
    house = Harness(simulated_ready(step_tokens=4))
    pid = house.with_context(10)
    call = house.score(pid, CONTINUATIONS)
    for _ in range(steps):
        house.step()
    house.signal(pid, Signal.KILL)
    assert "has ended" in str(failure(house, call))
    assert living(house) == {pid}
    house.run()


def test_killing_what_scores_ends_the_call_and_nothing_else() -> None:
    house = Harness(simulated_ready(step_tokens=4))
    pid = house.with_context(10)
    call = house.score(pid, CONTINUATIONS)
    house.step()
    house.signal(Pid(call + 1), Signal.KILL)
    assert isinstance(failure(house, call), Cancelled)
    assert house.process(pid).alive
    assert living(house) == {pid}


def test_what_scores_is_not_its_owners_to_use() -> None:
    house = Harness(simulated_ready(step_tokens=4))
    call = house.score(house.with_context(10), CONTINUATIONS)
    for event in (
        ev.Append(call, (1,), None),
        ev.Truncate(call, 1),
        ev.Score(call, (Pid(500), Pid(501)), ((1,),)),
    ):
        with pytest.raises(Busy):
            house.handle(event)
    with pytest.raises(Busy):
        house.generate(call)
    house.handle(ev.Prefetch(Pid(call + 1)))
    house.run()
    assert isinstance(house.scored[call], fx.ScoringDone)


def test_what_scores_does_not_count_as_a_child() -> None:
    house = Harness(simulated_ready(step_tokens=4))
    pid = house.spawn(limits=Limits(children=1))
    house.append(pid, (1, 2, 3))
    house.score(pid, CONTINUATIONS)
    house.fork(pid)
    house.run()


def test_a_stopped_scorer_is_waited_for() -> None:
    house = Harness(simulated_ready(step_tokens=4))
    call = house.score(house.with_context(10), CONTINUATIONS)
    house.signal(Pid(call + 2), Signal.STOP)
    house.run()
    assert call not in house.scored
    house.signal(Pid(call + 2), Signal.CONT)
    house.run()
    assert isinstance(house.scored[call], fx.ScoringDone)


def test_what_cannot_be_scored_is_refused_and_changes_nothing() -> None:
    house = Harness(simulated_ready(context_limit=40, device_pages=8))
    empty, pid = house.spawn(), house.with_context(20)
    limited = house.spawn(limits=Limits(context_tokens=6))
    house.append(limited, (1, 2, 3, 4))
    before = living(house)
    for target, continuations, error in (
        (empty, ((1,),), InvalidArgument),
        (pid, (), InvalidArgument),
        (pid, ((1,), ()), InvalidArgument),
        (pid, ((1000,),), InvalidArgument),
        (pid, ((1,) * 20,), MessageTooLong),
        (pid, ((1,) * 13,), OutOfPages),
        (limited, ((1, 2, 3),), LimitExceeded),
        (Pid(999), ((1,),), NoSuchProcess),
    ):
        pids = tuple(Pid(500 + index) for index in range(len(continuations) + 1))
        with pytest.raises(error):
            house.handle(ev.Score(target, pids, continuations))
        assert living(house) == before
    house.handle(ev.SetDraining(True))
    with pytest.raises(TryAgain):
        house.score(pid, ((1,),))


def test_an_engine_that_refuses_fails_the_scoring() -> None:
    house = Harness()
    call = house.score(house.with_context(10), CONTINUATIONS)
    house.step()
    house.plans.clear()
    house.engine = None
    house.handle(ev.EngineDown(MODEL, "no", refused=True))
    assert isinstance(failure(house, call), DeviceError)
