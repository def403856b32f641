"""A running generation, for asyncio programs; and the inbox from the IO thread to the event loop.

As the blocking one: it started when it was made, one task reads it, and one that is closed, whose reader is
cancelled, or that is dropped is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from types import TracebackType

from llmos.syscalls.abi import messages as m
from llmos.syscalls.sdk.connection import Connection
from llmos.syscalls.sdk.protocol import Event
from llmos.syscalls.sdk.requests import Invocation
from llmos.syscalls.sdk.stream import GenerationStream
from llmos.syscalls.sdk.undoing import IfInterrupted


class LoopInbox:
    """Events of one call, read in the running event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event] = asyncio.Queue()

    def put(self, event: Event) -> None:
        """Take one event, in the IO thread."""
        # A closed loop has nobody left who could read it.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    async def get(self) -> Event:
        """The next event, in the loop."""
        return await self._events.get()


class AsyncGeneration:
    """Iterate with `async for` (`.text`, `.token_ids`, `.logprobs`), or await the `result()`."""

    def __init__(self, connection: Connection, invocation: Invocation[m.Generated, m.Generated]) -> None:
        self._connection = connection
        self._events = LoopInbox()
        self._stream = GenerationStream()
        self._id = connection.start(invocation.call, invocation.request, self._events, invocation.own_timeout)
        self._abandon = connection.abandon_with(self, self._id)

    def __aiter__(self) -> AsyncIterator[m.Chunk]:
        return self

    async def __anext__(self) -> m.Chunk:
        if self._stream.finished:
            raise StopAsyncIteration
        chunk = self._stream.accept(await self._next_event())
        if chunk is None:
            raise StopAsyncIteration
        if credit := self._stream.window.consume():
            self._connection.credit(self._id, credit)
        return chunk

    async def result(self) -> m.Generated:
        """Wait for the end: `.text .token_ids .finish_reason .usage`. Raises the error of one that failed."""
        async for _ in self:
            pass
        return self._stream.result()

    async def cancel(self) -> None:
        """Stop generating; what was generated stays in the context, and `result()` says `cancelled`."""
        self._connection.cancel(self._id)

    async def aclose(self) -> None:
        """Cancel, and read no more. Without effect on a generation that has finished."""
        self._abandon()

    async def __aenter__(self) -> AsyncGeneration:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _next_event(self) -> Event:
        with IfInterrupted(lambda: self._connection.cancel(self._id)):
            return await self._events.get()
