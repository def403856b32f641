"""What was begun is taken back when what should follow is interrupted, by whatever, and that is raised on."""

from __future__ import annotations

import asyncio

import pytest

from llmos.syscalls.sdk.undoing import AsyncIfInterrupted, IfInterrupted

INTERRUPTIONS = pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit])


@INTERRUPTIONS
def test_an_interruption_is_undone_once_and_raised_on(kind: type[BaseException]) -> None:
    undone: list[str] = []
    with pytest.raises(kind, match="why"), IfInterrupted(lambda: undone.append("undone")):
        raise kind("why")
    assert undone == ["undone"]


@INTERRUPTIONS
def test_the_same_holds_for_what_is_awaited(kind: type[BaseException]) -> None:
    undone: list[str] = []

    async def undo() -> None:
        undone.append("undone")

    async def main() -> None:
        with pytest.raises(kind, match="why"):
            async with AsyncIfInterrupted(undo):
                raise kind("why")

    asyncio.run(main())
    assert undone == ["undone"]


def test_what_comes_to_its_end_is_not_undone() -> None:
    undone: list[str] = []

    async def undo() -> None:
        undone.append("undone")

    async def main() -> int:
        async with AsyncIfInterrupted(undo):
            return 1

    with IfInterrupted(lambda: undone.append("undone")):
        pass
    assert asyncio.run(main()) == 1
    assert undone == []
