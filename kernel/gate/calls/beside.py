"""Calls whose work takes long: done beside the loop, answered when it is done.

Rule: an abi error of the work is the caller's and becomes the answer; anything else is a bug and reaches the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TypeVar

from llmos.kernel.gate.channel import Channel
from llmos.syscalls.abi.errors import Error

Result = TypeVar("Result")


def beside(
    loop: asyncio.AbstractEventLoop, work: Callable[[], Result], then: Callable[[Result], None], channel: Channel
) -> None:
    """Run `work` in a thread, then `then` with its result in the loop, unless nobody listens any more."""
    finish(loop.run_in_executor(None, work), then, channel)


def in_loop(
    loop: asyncio.AbstractEventLoop,
    work: Coroutine[None, None, Result],
    then: Callable[[Result], None],
    channel: Channel,
) -> None:
    """Run a coroutine of the loop's, then `then` with its result; it is not given up when nobody listens any more."""
    finish(loop.create_task(work), then, channel)


def finish(future: asyncio.Future[Result], then: Callable[[Result], None], channel: Channel) -> None:
    """Give the result to `then`, or the error to the caller."""

    def done(future: asyncio.Future[Result]) -> None:
        try:
            result = future.result()
        except Error as error:
            channel.fail(error)
        else:
            if not channel.over:
                then(result)

    future.add_done_callback(done)
