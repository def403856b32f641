"""Calls that are made at the same time: all of them end with the loop."""

from __future__ import annotations

import asyncio

import pytest

from llmos.syscalls.abi.errors import LimitExceeded
from llmos.syscalls.sdk.agent import ToolUse
from llmos.syscalls.sdk.asynchronous_agent import together


def test_what_comes_of_calls_is_in_their_order() -> None:
    async def use(name: str, before: asyncio.Event, after: asyncio.Event) -> ToolUse:
        await before.wait()
        after.set()
        return ToolUse(name, {}, "")

    async def main() -> None:
        first, second, third = (asyncio.Event() for _ in range(3))
        first.set()
        uses = await together([use("a", second, third), use("b", first, second)])
        assert [one.name for one in uses] == ["a", "b"]

    asyncio.run(main())


def test_one_that_ends_the_loop_ends_the_others_first() -> None:
    ended: list[str] = []

    async def endless() -> ToolUse:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("endless")
        raise AssertionError

    async def limited() -> ToolUse:
        raise LimitExceeded("no more calls")

    async def main() -> None:
        with pytest.raises(LimitExceeded):
            await together([endless(), limited(), endless()])
        assert ended == ["endless"] * 2

    asyncio.run(main())
