"""What the gate remembers of one connection: its calls, what could not be sent yet, and how it behaved.

It does not know sockets. Rules: an entry of the backlog knows which call it ends, so that dropping the
backlog of a client that does not read can still tell it, in few bytes, which of its calls are lost. A
client in state GONE gets nothing any more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from enum import Enum

from llmos.kernel.gate.channel import Channel
from llmos.kernel.gate.principal import Principal


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one client may take, and how often the gate looks after it. Seconds, bytes, messages."""

    calls: int = 1024
    queued_messages: int = 256
    backlog_bytes: int = 8 << 20
    received_messages: int = 64
    strikes: int = 16
    strike_seconds: float = 10.0
    ignored_seconds: float = 10.0
    ping_seconds: float = 2.0
    retry_seconds: float = 0.005


class Standing(Enum):
    """How a client stands: served; about to lose its calls because it does not read; or no longer there."""

    SERVED = "served"
    CHOKED = "choked"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Queued:
    """A frame that waits; `ends` is the call it ends, None for an event."""

    data: bytes
    ends: int | None


@dataclass(slots=True, eq=False)
class OpenCall:
    """A call in progress and the timer of its time-out."""

    channel: Channel
    timer: asyncio.TimerHandle | None = None


@dataclass(slots=True, eq=False)
class Client:
    """One connection. Written by the gate only."""

    routing: bytes
    principal: Principal
    standing: Standing = Standing.SERVED
    calls: dict[int, OpenCall] = field(default_factory=dict)
    backlog: deque[Queued] = field(default_factory=deque)
    backlog_bytes: int = 0
    strikes: deque[float] = field(default_factory=deque)
    ignored_until: float = 0.0

    def push(self, queued: Queued) -> None:
        """Put a frame at the end of the backlog."""
        self.backlog.append(queued)
        self.backlog_bytes += len(queued.data)

    def pop(self) -> None:
        """Take the frame at the head of the backlog away."""
        self.backlog_bytes -= len(self.backlog.popleft().data)

    def drop_backlog(self) -> tuple[int, ...]:
        """Forget the backlog; the calls whose last frame was in it."""
        lost = tuple(queued.ends for queued in self.backlog if queued.ends is not None)
        self.backlog.clear()
        self.backlog_bytes = 0
        return lost

    def strike(self, now: float, bounds: Bounds) -> None:
        """Count one bad frame; too many in a while and the client is ignored for a while."""
        self.strikes.append(now)
        while self.strikes[0] < now - bounds.strike_seconds:
            self.strikes.popleft()
        if len(self.strikes) >= bounds.strikes:
            self.strikes.clear()
            self.ignored_until = now + bounds.ignored_seconds

    def idle(self, now: float, bounds: Bounds) -> bool:
        """Whether nothing would be lost by forgetting it."""
        quiet = not self.strikes or self.strikes[-1] < now - bounds.strike_seconds
        return not self.calls and not self.backlog and quiet and self.ignored_until < now
