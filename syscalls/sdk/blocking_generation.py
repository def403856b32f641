"""A running generation, for programs that block.

It started when it was made. Rules: one thread reads it; a chunk that was read allows the kernel another, so
that a reader who stops holds up only this generation; one that is closed, interrupted or dropped is
cancelled.
"""

from __future__ import annotations

from collections.abc import Iterator
from queue import SimpleQueue
from types import TracebackType

from llmos.syscalls.abi import messages as m
from llmos.syscalls.sdk.connection import Connection
from llmos.syscalls.sdk.protocol import Event
from llmos.syscalls.sdk.requests import Invocation
from llmos.syscalls.sdk.stream import GenerationStream
from llmos.syscalls.sdk.undoing import IfInterrupted


class Generation:
    """Iterate for chunks (`.text`, `.token_ids`, `.logprobs`), or ask for the `result()`."""

    def __init__(self, connection: Connection, invocation: Invocation[m.Generated, m.Generated]) -> None:
        self._connection = connection
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._stream = GenerationStream()
        self._id = connection.start(invocation.call, invocation.request, self._events, invocation.own_timeout)
        self._abandon = connection.abandon_with(self, self._id)

    def __iter__(self) -> Iterator[m.Chunk]:
        return self

    def __next__(self) -> m.Chunk:
        if self._stream.finished:
            raise StopIteration
        chunk = self._stream.accept(self._next_event())
        if chunk is None:
            raise StopIteration
        if credit := self._stream.window.consume():
            self._connection.credit(self._id, credit)
        return chunk

    def result(self) -> m.Generated:
        """Wait for the end: `.text .token_ids .finish_reason .usage`. Raises the error of one that failed."""
        for _ in self:
            pass
        return self._stream.result()

    def cancel(self) -> None:
        """Stop generating; what was generated stays in the context, and `result()` says `cancelled`."""
        self._connection.cancel(self._id)

    def close(self) -> None:
        """Cancel, and read no more. Without effect on a generation that has finished."""
        self._abandon()

    def __enter__(self) -> Generation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _next_event(self) -> Event:
        with IfInterrupted(self.cancel):
            return self._events.get()
