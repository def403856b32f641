"""A run of an app under anything that can happen to it: it is never in two states, and what has ended stays ended."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.kernel.gate.apps.runs import MOST_RESTARTS, Run
from llmos.kernel.loop.backoff import LONGEST
from llmos.kernel.ports.sandbox import ContainerId, Ended
from llmos.syscalls.abi.apps import Restart, RunState

FIRST = ContainerId("first")


def begun(restart: Restart = Restart.NO) -> Run:
    """A run whose program runs."""
    run = Run(1, (), True, restart, started=0.0)
    run.gets(FIRST)
    run.begins(0.0)
    return run


def ended(status: int, out_of_memory: bool = False) -> Ended:
    """How it ended."""
    return Ended(FIRST, status, out_of_memory)


@pytest.mark.parametrize(
    ("restart", "status", "again"),
    [
        (Restart.NO, 0, False),
        (Restart.NO, 1, False),
        (Restart.ON_FAILURE, 0, False),
        (Restart.ON_FAILURE, 1, True),
        (Restart.ALWAYS, 0, True),
        (Restart.ALWAYS, 1, True),
    ],
)
def test_a_run_is_begun_again_as_its_manifest_says(restart: Restart, status: int, again: bool) -> None:
    run = begun(restart)
    assert (run.ends(ended(status), 1.0) is not None) is again
    assert run.state is (RunState.WAITING if again else RunState.ENDED)
    assert run.reason == f"exited with status {status}"


def test_who_was_asked_to_stop_is_not_begun_again() -> None:
    run = begun(Restart.ALWAYS)
    assert run.stops()
    assert run.state is RunState.STOPPING
    assert run.ends(ended(143), 1.0) is None
    assert (run.state, run.reason) == (RunState.ENDED, "stopped")


def test_who_waits_to_be_begun_again_and_is_stopped_has_ended() -> None:
    run = begun(Restart.ALWAYS)
    run.ends(ended(1), 1.0)
    assert not run.stops()
    assert run.state is RunState.ENDED


def test_a_stop_while_it_is_begun_is_not_forgotten() -> None:
    run = Run(1, (), True, Restart.ALWAYS, started=0.0)
    assert not run.stops()
    assert run.stop_asked
    assert run.alive


def test_reasons_say_what_ended_it() -> None:
    for how, reason in (
        (ended(0), "exited with status 0"),
        (ended(137), "killed by signal 9"),
        (ended(137, out_of_memory=True), "killed: it needed more memory than its limit"),
    ):
        run = begun()
        run.ends(how, 1.0)
        assert run.reason == reason


def test_a_first_beginning_that_fails_is_the_last_and_a_later_one_is_tried_again() -> None:
    run = Run(1, (), True, Restart.ALWAYS, started=0.0)
    assert run.fails("no engine", 1.0) is None
    assert run.state is RunState.ENDED
    run = begun(Restart.ALWAYS)
    run.ends(ended(1), 1.0)
    run.again()
    assert run.fails("no engine", 2.0) is not None
    assert run.state is RunState.WAITING


def test_what_dies_at_once_again_and_again_waits_longer_and_longer_and_is_given_up() -> None:
    run, waits, now = begun(Restart.ALWAYS), list[float](), 0.0
    while (wait := run.ends(ended(1), now)) is not None:
        waits.append(wait)
        run.again()
        run.gets(FIRST)
        run.begins(now)
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST
    assert len(waits) == MOST_RESTARTS == run.restarts


def test_what_was_up_for_long_begins_anew() -> None:
    run, now = begun(Restart.ALWAYS), 0.0
    for _ in range(5):
        run.ends(ended(1), now)
        run.again()
        run.gets(FIRST)
        run.begins(now)
    assert run.ends(ended(1), now + 3600) == 0.0


STEPS = st.lists(
    st.sampled_from(["gets", "begins", "ends well", "ends badly", "fails", "again", "stops"]), min_size=1, max_size=40
)


@given(STEPS, st.sampled_from(Restart))
def test_whatever_happens_the_states_move_by_their_table_and_the_end_is_final(
    steps: list[str], restart: Restart
) -> None:
    run, over = Run(1, (), True, restart, started=0.0), False
    for now, step in enumerate(steps):
        before = run.state
        try:
            _happen(run, step, float(now))
        except RuntimeError:
            assert run.state is before
        over = over or before is RunState.ENDED
        assert not over or run.state is RunState.ENDED
        assert run.alive is (run.state is not RunState.ENDED)
        assert run.state is not RunState.WAITING or (restart is not Restart.NO and not run.stop_asked)


def _happen(run: Run, step: str, now: float) -> None:
    match step:
        case "gets":
            run.gets(FIRST)
        case "begins":
            run.begins(now)
        case "ends well":
            run.ends(ended(0), now)
        case "ends badly":
            run.ends(ended(1), now)
        case "fails":
            run.fails("why", now)
        case "again":
            run.again()
        case _:
            run.stops()
