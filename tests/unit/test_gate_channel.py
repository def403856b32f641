"""One answer to a call, whatever ends it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from llmos.kernel.gate.channel import Channel, Ending
from llmos.syscalls.abi.errors import Busy, Cancelled, Error, TimedOut, TryAgain
from llmos.syscalls.abi.messages import Done
from llmos.syscalls.abi.words import Record
from llmos.syscalls.wire.frames import MAX_CREDIT


@dataclass
class Paper:
    """An outlet that keeps what leaves."""

    sent: list[str | type[Error]] = field(default_factory=list)

    def reply(self, record: Record) -> None:
        self.sent.append("reply")

    def fail(self, error: Error) -> None:
        self.sent.append(type(error))

    def event(self, record: Record) -> None:
        self.sent.append("event")


def test_an_answered_call_is_over_and_nothing_ends_it_again() -> None:
    paper, endings = Paper(), list[Ending]()
    channel = Channel(paper)
    channel.on_end(endings.append)
    channel.reply(Done())
    channel.end(Ending.CANCELLED)
    assert channel.over
    assert paper.sent == ["reply"]
    assert endings == []


def test_answering_twice_is_a_kernel_bug() -> None:
    channel = Channel(Paper())
    channel.fail(Busy("no"))
    with pytest.raises(RuntimeError):
        channel.reply(Done())
    with pytest.raises(RuntimeError):
        channel.event(Done())


def test_an_event_without_credit_is_a_kernel_bug() -> None:
    channel = Channel(Paper(), credit=1)
    channel.event(Done())
    assert not channel.ready
    with pytest.raises(RuntimeError):
        channel.event(Done())


@pytest.mark.parametrize(
    ("ending", "answer"),
    [(Ending.CANCELLED, Cancelled), (Ending.TIMED_OUT, TimedOut), (Ending.CLOSING, TryAgain)],
)
def test_the_channel_answers_when_the_handler_does_not(ending: Ending, answer: type[Error]) -> None:
    paper, endings = Paper(), list[Ending]()
    channel = Channel(paper, credit=1)
    channel.on_end(endings.append)
    channel.end(ending)
    channel.end(Ending.GONE)
    channel.reply(Done())
    channel.event(Done())
    assert paper.sent == [answer]
    assert endings == [ending]


def test_the_handler_may_answer_while_its_call_ends() -> None:
    paper = Paper()
    channel = Channel(paper)
    channel.on_end(lambda _: channel.reply(Done()))
    channel.end(Ending.CANCELLED)
    assert paper.sent == ["reply"]


def test_nothing_leaves_for_a_client_that_is_gone() -> None:
    paper = Paper()
    channel = Channel(paper, credit=1)
    channel.on_end(lambda _: channel.reply(Done()))
    channel.end(Ending.GONE)
    assert paper.sent == []
    assert channel.over


def test_a_callback_set_after_the_end_runs_at_once() -> None:
    endings = list[Ending]()
    channel = Channel(Paper())
    channel.end(Ending.GONE)
    channel.on_end(endings.append)
    assert endings == [Ending.GONE]


def test_credit_adds_up_to_its_bound_and_calls_back() -> None:
    calls = list[int]()
    channel = Channel(Paper())
    channel.on_credit(lambda: calls.append(channel.credit))
    channel.grant(5)
    channel.grant(MAX_CREDIT)
    assert calls == [5, MAX_CREDIT]
    channel.reply(Done())
    channel.grant(5)
    assert calls == [5, MAX_CREDIT]
    assert channel.credit == 0
