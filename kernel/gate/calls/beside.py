"""Calls whose work takes long: done beside the loop, answered when it is done.

Rules: an abi error of the work is the caller's and becomes the answer; anything else is a bug and reaches the loop.
What was done is done, also when the caller has left: `then` runs all the same, and its answer is not sent. Who reads
the audit log waits for others who do, has one reading under way at a time, and holds up nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from llmos.kernel.core.authority import Authorized
from llmos.kernel.gate.channel import Channel
from llmos.kernel.security.audit.log import AuditLog
from llmos.syscalls.abi.errors import Busy, Error

Result = TypeVar("Result")


class Reader:
    """A thread that reads what was written, for one caller after the other."""

    def __init__(self, loop: asyncio.AbstractEventLoop, log: AuditLog) -> None:
        self.log = log
        self._loop = loop
        self._thread = ThreadPoolExecutor(1, "reader")
        self._reading: set[str] = set()

    def read(
        self, by: Authorized, work: Callable[[], Result], then: Callable[[Result], None], channel: Channel
    ) -> None:
        """Run `work` when everything so far is written, then `then` with its result. Raises `Busy`."""
        who = by.principal.name
        if who in self._reading:
            raise Busy("you read the audit log already", "one reading at a time: wait for its answer")
        self._reading.add(who)

        def written(error: Error | None) -> None:
            reading = self._loop.run_in_executor(self._thread, work)
            reading.add_done_callback(lambda _: self._reading.discard(who))
            _finish(reading, then, channel)

        self.log.flush(written)

    def close(self) -> None:
        """End the thread, when what it reads is read."""
        self._thread.shutdown()


def in_loop(
    loop: asyncio.AbstractEventLoop,
    work: Coroutine[None, None, Result],
    then: Callable[[Result], None],
    channel: Channel,
) -> None:
    """Run a coroutine of the loop's, then `then` with its result; it is not given up when nobody listens any more."""
    _finish(loop.create_task(work), then, channel)


def in_threads(
    loop: asyncio.AbstractEventLoop, work: Future[Result], then: Callable[[Result], None], channel: Channel
) -> None:
    """Go on in the loop with what another thread does; it is not given up when nobody listens any more."""
    _finish(asyncio.wrap_future(work, loop=loop), then, channel)


def _finish(future: asyncio.Future[Result], then: Callable[[Result], None], channel: Channel) -> None:
    """Give the result to `then`, or the error to the caller."""

    def done(future: asyncio.Future[Result]) -> None:
        try:
            result = future.result()
        except Error as error:
            channel.fail(error)
        else:
            then(result)

    future.add_done_callback(done)
