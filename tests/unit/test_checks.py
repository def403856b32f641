"""Checks beside the loop: nobody waits for another's, and what waits is bounded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from llmos.kernel.core.authority import Authorized
from llmos.kernel.core.principal import Principal
from llmos.kernel.gate.calls.checks import Checks
from llmos.kernel.gate.calls.lanes import Lanes, Leave
from llmos.kernel.gate.channel import Channel, Ending
from llmos.syscalls.abi.errors import InvalidArgument, TryAgain
from llmos.syscalls.abi.messages import Done
from tests.unit.outlet import Outlet
from tests.unit.test_authority import everything

PATIENCE = 30.0
MOST_WAITING = 1000


class Scene:
    """Checks in a loop of the test's own."""

    def __init__(self) -> None:
        self.lanes = Lanes(asyncio.get_running_loop(), 2, "checks")
        self.checks = Checks(self.lanes, MOST_WAITING, "characters")
        self.membrane = everything()

    def by(self, name: str) -> Authorized:
        return self.membrane.authorize(Principal(name, "developer"), "x", "tool.call")

    def check(self, name: str, work: Callable[[], None], size: int = 1) -> tuple[Outlet, Channel]:
        outlet = Outlet()
        channel = Channel(outlet)
        self.checks.check(self.by(name), size, work, lambda _: channel.reply(Done()), channel)
        return outlet, channel


def test_a_caller_whose_checks_take_long_holds_up_nobody_else() -> None:
    async def scene() -> None:
        scene, held = Scene(), threading.Event()
        slow = [scene.check("alice", lambda: _wait(held))[0] for _ in range(3)]
        quick, _ = scene.check("bob", lambda: None)
        assert await asyncio.wait_for(quick.answer, PATIENCE) == Done()
        assert not quick.events
        assert not any(outlet.answer.done() for outlet in slow)
        held.set()
        for outlet in slow:
            assert await asyncio.wait_for(outlet.answer, PATIENCE) == Done()
        scene.lanes.close()

    asyncio.run(scene())


def test_what_waits_of_a_caller_is_bounded_until_it_is_checked_also_when_it_was_given_up() -> None:
    async def scene() -> None:
        scene, held = Scene(), threading.Event()
        first, channel = scene.check("alice", lambda: _wait(held), MOST_WAITING)
        channel.end(Ending.CANCELLED)
        await first.answer
        with pytest.raises(TryAgain, match="characters of alice wait to be checked"):
            scene.check("alice", lambda: None)
        other, _ = scene.check("bob", lambda: None, MOST_WAITING)
        assert await asyncio.wait_for(other.answer, PATIENCE) == Done()
        held.set()
        turn: asyncio.Future[Leave] = asyncio.get_running_loop().create_future()
        scene.lanes.enter("alice", turn.set_result)
        (await asyncio.wait_for(turn, PATIENCE))()
        again, _ = scene.check("alice", lambda: None, MOST_WAITING)
        assert await asyncio.wait_for(again.answer, PATIENCE) == Done()
        scene.lanes.close()

    asyncio.run(scene())


def test_an_error_of_a_check_or_of_what_follows_is_the_callers() -> None:
    async def scene() -> None:
        scene = Scene()
        outlet, _ = scene.check("alice", _refuse)
        assert isinstance(await asyncio.wait_for(outlet.answer, PATIENCE), InvalidArgument)
        outlet = Outlet()
        channel = Channel(outlet)
        scene.checks.check(scene.by("alice"), 1, lambda: None, lambda _: _refuse(), channel)
        assert isinstance(await asyncio.wait_for(outlet.answer, PATIENCE), InvalidArgument)
        scene.lanes.close()

    asyncio.run(scene())


def _wait(held: threading.Event) -> None:
    assert held.wait(PATIENCE)


def _refuse() -> None:
    raise InvalidArgument("no")
