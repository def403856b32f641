"""Processes of the core: states, tree, signals, limits, reaping."""

from __future__ import annotations

import pytest

from llmos.drivers.simulator.engine import simulated_ready
from llmos.kernel.core import effects as fx
from llmos.kernel.core import events as ev
from llmos.kernel.core.process import IllegalMove
from llmos.kernel.core.sharing import Breadth, ShareScope
from llmos.kernel.core.table import KEPT_EXITED
from llmos.kernel.core.views import page_counts, waiting_for
from llmos.syscalls.abi.errors import (
    Busy,
    DeviceError,
    InvalidArgument,
    LimitExceeded,
    MessageTooLong,
    NoSuchProcess,
    NotFound,
    TryAgain,
)
from llmos.syscalls.abi.words import INIT, FinishReason, Limits, Origin, OriginKind, Pid, PriorityClass, Signal, State
from tests.simulation import Harness


def test_a_new_process_waits_for_input_once_it_has_a_context() -> None:
    house = Harness()
    pid = house.spawn()
    assert house.process(pid).state is State.NEW
    house.append(pid, (1, 2, 3))
    assert house.process(pid).state is State.WAITING


def test_a_generation_goes_through_ready_and_running_and_back_to_waiting() -> None:
    house = Harness()
    pid = house.with_context()
    house.generate(pid, 3, ignore_eos=True)
    assert house.process(pid).state is State.READY
    house.schedule()
    assert house.process(pid).state is State.RUNNING
    house.run()
    assert house.process(pid).state is State.WAITING
    assert house.tokens[pid] == house.expected[pid]
    ended = house.ended[pid]
    assert isinstance(ended, fx.Finished)
    assert ended.reason is FinishReason.LENGTH
    assert ended.usage.prompt_tokens == 5
    assert ended.usage.generated_tokens == 3


def test_an_end_token_stops_and_stays_in_the_context() -> None:
    house = Harness()
    for first in range(1, 200):
        pid = house.with_context(3, first=first)
        house.generate(pid, 60)
        house.run()
        ended = house.ended[pid]
        assert isinstance(ended, fx.Finished)
        if ended.reason is FinishReason.STOP:
            assert house.process(pid).tokens[-1] == 999
            return
        house.signal(pid, Signal.KILL)
        house.handle(ev.Reap(pid))
    raise AssertionError("no generation met an end token")


def test_a_process_waits_for_what_is_awaited_in_its_name_until_the_last_of_it_has_come() -> None:
    house = Harness()
    pid = house.spawn()
    house.handle(ev.Await(pid, "a message"))
    house.handle(ev.Await(pid, "the tool bob/weather"))
    assert house.process(pid).state is State.WAITING
    assert waiting_for(house.process(pid)) == "a message, the tool bob/weather"
    house.handle(ev.Resume(pid, "a message"))
    assert waiting_for(house.process(pid)) == "the tool bob/weather"
    house.handle(ev.Resume(pid, "the tool bob/weather"))
    assert house.process(pid).state is State.NEW
    house.handle(ev.Resume(pid, "the tool bob/weather"))


def test_a_process_that_waits_for_a_message_gives_its_pages_to_who_needs_them() -> None:
    house = Harness(simulated_ready(device_pages=4, host_pages=16))
    waiting = house.with_context(12)
    house.generate(waiting, 2, ignore_eos=True)
    house.run()
    house.handle(ev.Await(waiting, "a message"))
    held = page_counts(house.process(waiting)).device
    other = house.with_context(14, first=3)
    house.generate(other, 2, ignore_eos=True)
    house.run()
    assert page_counts(house.process(waiting)).device < held
    assert house.process(waiting).recomputed_tokens == 0


def test_what_is_awaited_in_the_name_of_a_process_ends_with_it() -> None:
    house = Harness()
    pid = house.with_context()
    house.handle(ev.Await(pid, "a message"))
    house.signal(pid, Signal.KILL)
    house.handle(ev.Resume(pid, "a message"))
    with pytest.raises(NoSuchProcess):
        house.handle(ev.Await(pid, "a message"))


def test_an_illegal_move_raises_with_the_history() -> None:
    house = Harness()
    pid = house.spawn()
    with pytest.raises(IllegalMove, match=r"new -> running.*spawned by alice"):
        house.process(pid).move(State.RUNNING, 1.0, "no reason")


def test_a_stopped_process_keeps_its_generation_and_continues_token_for_token() -> None:
    house = Harness()
    pid = house.with_context()
    house.generate(pid, 10, ignore_eos=True)
    house.step()
    house.step()
    house.signal(pid, Signal.STOP)
    seen = len(house.tokens[pid])
    assert not house.step()
    assert len(house.tokens[pid]) == seen
    house.signal(pid, Signal.CONT)
    house.run()
    assert house.tokens[pid] == house.expected[pid]


def test_kill_ends_a_generation_and_term_says_who() -> None:
    house = Harness()
    killed, asked = house.with_context(), house.with_context()
    house.generate(killed)
    house.step()
    house.signal(killed, Signal.KILL)
    ended = house.ended[killed]
    assert isinstance(ended, fx.Finished)
    assert ended.reason is FinishReason.KILLED
    assert house.exits[killed].code == 137
    house.signal(asked, Signal.TERM)
    assert house.exits[asked].code == 143
    assert house.exits[asked].reason == "terminated by alice"


def test_what_has_exited_gets_no_signal_and_no_tokens() -> None:
    house = Harness()
    pid = house.with_context()
    house.signal(pid, Signal.KILL)
    with pytest.raises(NoSuchProcess, match="has exited"):
        house.signal(pid, Signal.CONT)
    with pytest.raises(NoSuchProcess):
        house.append(pid, (1,))
    house.handle(ev.Reap(pid))
    with pytest.raises(NoSuchProcess, match="no process"):
        house.handle(ev.Reap(pid))


def test_the_user_signal_reaches_the_stream_or_waits_for_one() -> None:
    house = Harness()
    pid = house.with_context()
    house.signal(pid, Signal.USR1)
    assert house.process(pid).pending_signals == 1
    house.generate(pid)
    assert fx.Signalled(pid) in house.log
    house.log.clear()
    house.signal(pid, Signal.USR1)
    assert house.log == [fx.Signalled(pid)]


def test_children_of_a_dead_parent_go_to_pid_1() -> None:
    house = Harness()
    parent = house.with_context()
    (child,) = house.fork(parent)
    assert house.process(child).parent == parent
    house.signal(parent, Signal.KILL)
    assert house.process(child).parent == INIT


def test_the_limit_of_children_counts_the_living() -> None:
    house = Harness()
    parent = house.spawn(limits=Limits(children=1))
    child = house.spawn(parent=parent)
    with pytest.raises(LimitExceeded, match=r"children=1 of process 2, set by alice"):
        house.spawn(parent=parent)
    house.signal(child, Signal.KILL)
    house.spawn(parent=parent)


def test_limits_bite_in_mid_generation_and_name_themselves() -> None:
    house = Harness()
    pid = house.with_context()
    house.handle(ev.SetLimits(pid, Limits(generated_tokens=4), (), "root"))
    house.generate(pid, 20, ignore_eos=True)
    house.run()
    ended = house.ended[pid]
    assert isinstance(ended, fx.Finished)
    assert ended.reason is FinishReason.LIMIT
    assert ended.detail == "limit generated_tokens=4 of process 2, set by root"
    assert len(house.tokens[pid]) == 4
    with pytest.raises(LimitExceeded):
        house.generate(pid)
    house.handle(ev.SetLimits(pid, Limits(context_tokens=12), ("generated_tokens",), "root"))
    house.generate(pid, 20, ignore_eos=True)
    house.run()
    assert len(house.process(pid).tokens) == 12
    with pytest.raises(LimitExceeded, match="context_tokens=12"):
        house.append(pid, (1,))


def test_the_limit_of_wall_time_ends_the_process() -> None:
    house = Harness()
    pid = house.spawn(limits=Limits(wall_seconds=5.0))
    house.append(pid, (1, 2))
    house.generate(pid, 100, ignore_eos=True)
    house.step()
    due = house.kernel.next_tick
    assert due is not None
    house.now = due
    house.handle(ev.Tick())
    assert house.exits[pid].code == 152
    assert "wall_seconds=5" in house.exits[pid].reason


def test_a_context_that_is_too_long_is_refused_with_numbers() -> None:
    house = Harness()
    pid = house.spawn()
    with pytest.raises(MessageTooLong, match="256"):
        house.append(pid, tuple([1] * 256))
    assert house.process(pid).tokens == []


def test_bad_arguments_of_calls_change_nothing() -> None:
    house = Harness()
    pid = house.with_context()
    with pytest.raises(InvalidArgument, match="vocabulary"):
        house.append(pid, (1, 5000))
    with pytest.raises(InvalidArgument, match="cannot be kept"):
        house.handle(ev.Truncate(pid, 99))
    with pytest.raises(InvalidArgument, match="no such limit"):
        house.handle(ev.SetLimits(pid, Limits(), ("nonsense",), "alice"))
    with pytest.raises(InvalidArgument, match="empty context"):
        house.generate(house.spawn())
    with pytest.raises(NotFound):
        house.handle(
            ev.Spawn(
                Pid(99),
                INIT,
                "",
                "",
                "alice",
                "default",
                ShareScope(Breadth.PRIVATE),
                "other",
                PriorityClass.NORMAL,
                100,
                None,
                Limits(),
            )
        )
    assert len(house.process(pid).tokens) == 5


def test_a_generating_process_is_busy() -> None:
    house = Harness()
    pid = house.with_context()
    house.generate(pid, 50, ignore_eos=True)
    house.step()
    for refused in (
        ev.Append(pid, (1,), None),
        ev.Truncate(pid, 1),
    ):
        with pytest.raises(Busy):
            house.handle(refused)
    with pytest.raises(Busy):
        house.generate(pid)


def test_draining_takes_nothing_new_and_lets_what_runs_finish() -> None:
    house = Harness()
    pid = house.with_context()
    house.generate(pid, 5, ignore_eos=True)
    house.handle(ev.SetDraining(on=True))
    for refused in (lambda: house.spawn(), lambda: house.fork(pid), lambda: house.generate(pid)):
        with pytest.raises(TryAgain, match="draining"):
            refused()
    house.run()
    assert house.tokens[pid] == house.expected[pid]
    assert not house.kernel.busy
    house.handle(ev.SetDraining(on=False))
    house.spawn()


def test_exited_processes_are_kept_for_wait_in_bounded_number() -> None:
    house = Harness()
    for _ in range(KEPT_EXITED + 3):
        house.signal(house.spawn(), Signal.KILL)
    assert len(house.kernel.table) == KEPT_EXITED
    assert fx.Reaped(Pid(2)) in house.log


def test_an_engine_that_refuses_fails_what_waits_for_it_with_its_reason() -> None:
    house = Harness()
    pid = house.with_context()
    house.generate(pid)
    house.handle(ev.EngineDown("sim", "no such layers here", refused=True))
    ended = house.ended[pid]
    assert isinstance(ended, fx.Failed)
    assert "no such layers here" in ended.error.message
    with pytest.raises(DeviceError, match="no such layers"):
        house.generate(pid)


def test_the_origin_of_every_part_of_a_context_is_known_also_to_children() -> None:
    house = Harness()
    pid, memory = house.spawn(), Origin(OriginKind.MEMORY, "alice", "notes", "m1", 2)
    house.handle(ev.Append(pid, (1, 2), None, Origin(OriginKind.USER, "alice")))
    house.handle(ev.Append(pid, (3,), None, memory))
    house.generate(pid, 3, ignore_eos=True)
    house.run()
    (child,) = house.fork(pid)
    kinds = [(span.start, span.end, span.origin.kind) for span in house.process(child).spans]
    assert kinds == [(0, 2, OriginKind.USER), (2, 3, OriginKind.MEMORY), (3, 6, OriginKind.MODEL)]
    house.handle(ev.Truncate(child, 3))
    assert [span.origin for span in house.process(child).spans][-1] == memory


def test_calls_of_tools_are_counted_waited_for_and_limited() -> None:
    house = Harness()
    pid = house.spawn(limits=Limits(tool_calls=2))
    for _ in range(2):
        house.handle(ev.CallTool(pid, "the tool bob/weather"))
        assert house.process(pid).state is State.WAITING
        house.handle(ev.Resume(pid, "the tool bob/weather"))
    with pytest.raises(LimitExceeded, match=f"limit tool_calls=2 of process {pid}, set by") as refused:
        house.handle(ev.CallTool(pid, "the tool bob/weather"))
    assert refused.value.hint == "llmosctl limit"
    assert house.process(pid).state is State.NEW
    house.handle(ev.SetLimits(pid, Limits(), ("tool_calls",), "alice"))
    house.handle(ev.CallTool(pid, "the tool bob/weather"))
    assert house.process(pid).tool_calls == 3
