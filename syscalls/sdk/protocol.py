"""The client's half of the protocol as a state machine: bytes in, deliveries out; calls in, bytes out.

It does not know sockets, threads or clocks: `now` comes in, in seconds of any monotonic clock. One thread
owns a `ClientProtocol`. Rules: every call that was started gets exactly one last delivery (`Replied` or
`Failed`) unless it is abandoned; after that its id is forgotten, and frames for an id that is not open are
ignored.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import assert_never

from msgspec import Raw

from llmos.syscalls.abi.errors import Error, TimedOut, error_of
from llmos.syscalls.wire.codec import decode_response, encode_cancel, encode_credit
from llmos.syscalls.wire.frames import NO_CALL, ErrorFrame, EventFrame, OkFrame, PingFrame

GRACE_SECONDS = 2.0
"""How much longer than its time-out a call waits for the kernel's own ETIMEDOUT."""


@dataclass(frozen=True, slots=True)
class Happened:
    """An event of the call's stream."""

    raw: Raw


@dataclass(frozen=True, slots=True)
class Replied:
    """The call succeeded; nothing follows."""

    raw: Raw


@dataclass(frozen=True, slots=True)
class Failed:
    """The call failed; nothing follows."""

    error: Error


Event = Happened | Replied | Failed


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event, and the call that it is for."""

    id: int
    event: Event


@dataclass(slots=True, eq=False)
class Window:
    """The credit of one stream, at the consumer's end: given back in halves, so that it does not run dry."""

    size: int
    _consumed: int = 0

    def consume(self) -> int:
        """Count one event that was used; returns the credit to send now, mostly 0."""
        self._consumed += 1
        if self._consumed * 2 < self.size:
            return 0
        credit, self._consumed = self._consumed, 0
        return credit


@dataclass(slots=True, eq=False)
class ClientProtocol:
    """All open calls of one connection."""

    outgoing: deque[bytes] = field(default_factory=deque)
    """Frames to send, oldest first; whoever owns the socket takes them."""
    next_server: str | None = None
    """The daemon's key that follows, if the daemon has told one."""
    _deadlines: dict[int, float | None] = field(default_factory=dict)
    _by_deadline: list[tuple[float, int]] = field(default_factory=list)

    @property
    def open_calls(self) -> int:
        """How many calls wait for their last delivery."""
        return len(self._deadlines)

    def start(self, id: int, frame: bytes, deadline: float | None = None) -> None:
        """Begin a call whose frame was encoded with this id."""
        self._deadlines[id] = deadline
        if deadline is not None:
            heappush(self._by_deadline, (deadline, id))
        self.outgoing.append(frame)

    def cancel(self, id: int) -> None:
        """Ask the kernel to stop a call; its last delivery still comes."""
        if id in self._deadlines:
            self.outgoing.append(encode_cancel(id))

    def abandon(self, id: int) -> None:
        """Cancel a call whose deliveries nobody wants any more."""
        self.cancel(id)
        self._deadlines.pop(id, None)

    def credit(self, id: int, credit: int) -> None:
        """Allow a stream more events."""
        if id in self._deadlines:
            self.outgoing.append(encode_credit(id, credit))

    def receive(self, data: bytes) -> Sequence[Delivery]:
        """Take one message from the kernel. Raises `ProtocolError` for bytes that are none."""
        match decode_response(data):
            case PingFrame(next_server):
                self.next_server = next_server or self.next_server
                return ()
            case EventFrame(id, raw):
                return (Delivery(id, Happened(raw)),) if id in self._deadlines else ()
            case OkFrame(id, raw):
                return self._finish(id, Replied(raw))
            case ErrorFrame(id, failure):
                error = error_of(failure)
                return self.lose(error) if id == NO_CALL else self._finish(id, Failed(error))
            case unreachable:
                assert_never(unreachable)

    def expire(self, now: float) -> Sequence[Delivery]:
        """Fail and cancel the calls whose deadline has passed."""
        late: list[Delivery] = []
        while (deadline := self.next_deadline()) is not None and deadline <= now:
            id = heappop(self._by_deadline)[1]
            self.abandon(id)
            late.append(Delivery(id, Failed(TimedOut("the kernel did not answer in time"))))
        return late

    def next_deadline(self) -> float | None:
        """When `expire` has something to do next."""
        while self._by_deadline and self._by_deadline[0][1] not in self._deadlines:
            heappop(self._by_deadline)
        return self._by_deadline[0][0] if self._by_deadline else None

    def lose(self, error: Error) -> Sequence[Delivery]:
        """The connection is of no use any more: every open call fails, and nothing is left to send."""
        lost = [Delivery(id, Failed(error)) for id in self._deadlines]
        self._deadlines.clear()
        self._by_deadline.clear()
        self.outgoing.clear()
        return lost

    def _finish(self, id: int, event: Replied | Failed) -> Sequence[Delivery]:
        if id not in self._deadlines:
            return ()
        del self._deadlines[id]
        return (Delivery(id, event),)
