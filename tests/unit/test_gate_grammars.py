"""Grammars of callers: checked once, beside the loop, a few at a time for each; nothing begins with a bad one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

import pytest

from llmos.drivers.simulator.grammars import SimulatedChecker
from llmos.kernel.core.authority import Authorized
from llmos.kernel.gate.calls.grammars import MOST_WAITING, Grammars, grammar_of
from llmos.kernel.gate.channel import Channel, Ending
from llmos.kernel.ports.engine import Grammar, GrammarKind
from llmos.syscalls.abi.errors import Error, InvalidArgument, TryAgain
from llmos.syscalls.abi.messages import Sampling
from llmos.syscalls.abi.words import Record
from tests.unit.test_membrane import ALICE, ROOT, membrane

PATIENCE = 10


@dataclass
class Outlet:
    """Keeps what leaves."""

    errors: list[Error] = field(default_factory=list)

    def reply(self, record: Record) -> None:
        raise AssertionError("the check answers nothing")

    def fail(self, error: Error) -> None:
        self.errors.append(error)

    def event(self, record: Record) -> None:
        raise AssertionError("the check streams nothing")


@dataclass
class Desk:
    """Grammars, and what came of them."""

    grammars: Grammars
    checker: SimulatedChecker
    begun: list[str] = field(default_factory=list)
    outlets: list[Outlet] = field(default_factory=list)

    def check(self, text: str, by: Authorized) -> Channel:
        outlet = Outlet()
        channel = Channel(outlet)
        self.grammars.check(by, "small", Grammar(GrammarKind.REGEX, text), lambda: self.begun.append(text), channel)
        self.outlets.append(outlet)
        return channel

    async def settled(self, count: int) -> None:
        """Until so many were begun or refused."""

        async def wait() -> None:
            while len(self.begun) + sum(len(outlet.errors) for outlet in self.outlets) < count:
                await asyncio.sleep(0)

        await asyncio.wait_for(wait(), PATIENCE)


def at_desk(test: Callable[[Desk], Coroutine[None, None, None]]) -> None:
    async def run() -> None:
        checker = SimulatedChecker()
        desk = Desk(Grammars(asyncio.get_running_loop(), {"small": checker}), checker)
        try:
            await test(desk)
        finally:
            desk.grammars.close()

    asyncio.run(run())


def proof(who: object) -> Authorized:
    return membrane().authorize(who, "sys:/", "sys.info")  # type: ignore[arg-type]


def test_a_request_has_one_grammar_or_none() -> None:
    assert grammar_of(Sampling()) is None
    assert grammar_of(Sampling(schema="{}")) == Grammar(GrammarKind.SCHEMA, "{}")
    assert grammar_of(Sampling(regex="a", ignore_eos=True)) == Grammar(GrammarKind.REGEX, "a", True)
    with pytest.raises(InvalidArgument, match="not both"):
        grammar_of(Sampling(schema="{}", regex="a"))


def test_a_good_grammar_is_checked_once_and_then_known() -> None:
    async def test(desk: Desk) -> None:
        desk.checker.free.set()
        desk.check("a", proof(ROOT))
        assert desk.begun == []
        await desk.settled(1)
        desk.check("a", proof(ROOT))
        assert desk.begun == ["a", "a"]
        assert desk.checker.asked == ["a"]

    at_desk(test)


def test_a_bad_grammar_is_told_each_time_and_begins_nothing() -> None:
    async def test(desk: Desk) -> None:
        desk.checker.free.set()
        for count in (1, 2):
            desk.check("bad", proof(ROOT))
            await desk.settled(count)
        assert desk.begun == []
        assert [type(error) for outlet in desk.outlets for error in outlet.errors] == [InvalidArgument] * 2
        assert desk.checker.asked == ["bad", "bad"]

    at_desk(test)


def test_a_caller_who_has_left_begins_nothing() -> None:
    async def test(desk: Desk) -> None:
        desk.check("a", proof(ROOT)).end(Ending.GONE)
        desk.check("b", proof(ROOT))
        desk.checker.free.set()
        await desk.settled(1)
        assert desk.begun == ["b"]

    at_desk(test)


def test_a_caller_with_many_waiting_ones_is_told_to_wait_and_others_are_not() -> None:
    async def test(desk: Desk) -> None:
        for number in range(MOST_WAITING):
            desk.check(f"a{number}", proof(ROOT))
        with pytest.raises(TryAgain):
            desk.check("one more", proof(ROOT))
        desk.check("another's", proof(ALICE))
        desk.checker.free.set()
        await desk.settled(MOST_WAITING + 1)
        # Each caller in turn: it stood behind the first only.
        assert desk.checker.asked.index("another's") == 1
        desk.check("one more", proof(ROOT))
        await desk.settled(MOST_WAITING + 2)

    at_desk(test)
