"""The call that watches: its credit, its bounds, its end; over a source that a test controls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from llmos.kernel.core.principal import Principal
from llmos.kernel.gate.calls.lanes import Lanes
from llmos.kernel.gate.calls.watches import MOST_UNTOLD, WatchCalls
from llmos.kernel.gate.channel import Channel, Ending
from llmos.kernel.ports.files import FilePath
from llmos.syscalls.abi.errors import Error, LimitExceeded, NotFound
from llmos.syscalls.abi.files import Change, FileChanged, FileWatch
from llmos.syscalls.abi.messages import Done
from llmos.syscalls.abi.words import Record
from tests.unit.test_authority import everything

ALICE = Principal("alice", "developer")
CREATED = FileChanged("/home/alice/d/a", Change.CREATED)
Tell = Callable[[Sequence[FileChanged]], None]


class Source:
    """Tells what it is told to tell."""

    def __init__(self) -> None:
        self.tells: list[Tell] = []
        self.open = 0
        self.early: Sequence[FileChanged] = ()
        """What is seen before the watch is there for whoever asked for it."""

    def watch(self, path: FilePath, tell: Tell) -> Source:
        if path.parts == ("nope",):
            raise NotFound("nope")
        self.tells.append(tell)
        self.open += 1
        if self.early:
            tell(self.early)
        return self

    def close(self) -> None:
        self.open -= 1


class Outlet:
    """What was sent."""

    def __init__(self) -> None:
        self.events: list[FileChanged] = []
        self.answer: Record | Error | None = None

    @property
    def answered(self) -> bool:
        return self.answer is not None

    def reply(self, record: Record) -> None:
        self.answer = record

    def fail(self, error: Error) -> None:
        self.answer = error

    def event(self, record: Record) -> None:
        assert isinstance(record, FileChanged)
        self.events.append(record)


class Scene:
    """The call, with at most two watches a principal."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.source = Source()
        self.lanes = Lanes(loop, 1, "files")
        self.calls = WatchCalls(loop, self.source, self.lanes, 2)
        self.gate = everything()

    def watch(self, path: str = "d", credit: int = 100) -> tuple[Outlet, Channel]:
        outlet = Outlet()
        channel = Channel(outlet, credit)
        self.calls.watch(self.gate.authorize(ALICE, "x", "fs.watch"), FileWatch(path), channel)
        return outlet, channel

    async def watched(self, credit: int = 100) -> tuple[Outlet, Channel]:
        outlet, channel = self.watch(credit=credit)
        while not outlet.events:
            await asyncio.sleep(0)
        assert outlet.events.pop().change is Change.WATCHING
        return outlet, channel


def play(part: Callable[[Scene], Awaitable[None]]) -> None:
    async def run() -> None:
        scene = Scene()
        try:
            await asyncio.wait_for(part(scene), 60)
        finally:
            scene.lanes.close()

    asyncio.run(run())


async def told(outlet: Outlet, count: int) -> list[Change]:
    while len(outlet.events) < count:
        await asyncio.sleep(0)
    return [one.change for one in outlet.events]


def test_changes_wait_for_credit_and_what_is_too_much_is_missed() -> None:
    async def part(scene: Scene) -> None:
        outlet, channel = await scene.watched(credit=2)
        scene.source.tells[0]([CREATED] * (MOST_UNTOLD + 10))
        assert await told(outlet, 1) == [Change.CREATED]
        channel.grant(MOST_UNTOLD + 10)
        changes = await told(outlet, MOST_UNTOLD)
        assert changes[-1] is Change.MISSED
        assert changes.count(Change.MISSED) == 1
        assert len(changes) < MOST_UNTOLD + 10

    play(part)


def test_what_is_seen_while_a_watch_begins_is_told_after_its_beginning() -> None:
    async def part(scene: Scene) -> None:
        scene.source.early = (CREATED,)
        outlet, _ = scene.watch()
        assert await told(outlet, 2) == [Change.WATCHING, Change.CREATED]

    play(part)


def test_a_principal_has_so_many_watches_and_no_more() -> None:
    async def part(scene: Scene) -> None:
        (_, first), _ = await scene.watched(), await scene.watched()
        with pytest.raises(LimitExceeded, match=r"files\.watches"):
            scene.watch()
        first.end(Ending.GONE)
        assert scene.source.open == 1
        await scene.watched()

    play(part)


def test_a_watch_that_cannot_begin_is_answered_and_not_counted() -> None:
    async def part(scene: Scene) -> None:
        for _ in range(5):
            outlet, _ = scene.watch("nope")
            while outlet.answer is None:
                await asyncio.sleep(0)
            assert isinstance(outlet.answer, NotFound)

    play(part)


def test_the_end_comes_after_all_that_was_told() -> None:
    async def part(scene: Scene) -> None:
        outlet, channel = await scene.watched(credit=1)
        scene.source.tells[0]([CREATED])
        scene.source.tells[0](())
        await asyncio.sleep(0)
        assert not outlet.answered
        channel.grant(1)
        await told(outlet, 1)
        assert outlet.answer == Done()
        assert scene.source.open == 0

    play(part)


def test_a_client_that_leaves_before_it_is_watched_leaves_nothing(tmp_path: Path) -> None:
    async def part(scene: Scene) -> None:
        _, channel = scene.watch()
        channel.end(Ending.CANCELLED)
        while not scene.source.tells or scene.source.open:
            await asyncio.sleep(0)

    play(part)
