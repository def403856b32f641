"""What the gate remembers of one connection: its calls, and what could not be sent yet.

It does not know sockets. Rules: an entry of the backlog knows which call it ends, so that dropping the
backlog of a client that does not read can still tell it, in few bytes, which of its calls are lost. A
client in state GONE gets nothing any more.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from dataclasses import dataclass, field
from enum import Enum

import zmq

from llmos.kernel.core.authority import Authorized
from llmos.kernel.gate.accounts import Account, Strikes
from llmos.kernel.gate.channel import Bond, Channel


class Standing(Enum):
    """How a client stands: served; about to lose its calls because it does not read; or no longer there."""

    SERVED = "served"
    CHOKED = "choked"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Wire:
    """The socket that a client's frames come through: its descriptor, and its inode, since descriptors are reused."""

    descriptor: int
    inode: int

    @classmethod
    def of(cls, frame: zmq.Frame) -> Wire | None:
        """The socket that a frame came through; None when it is closed by now."""
        descriptor = frame.get(zmq.SRCFD)
        try:
            return cls(int(descriptor), os.fstat(int(descriptor)).st_ino)
        except OSError:
            return None

    @property
    def there(self) -> bool:
        """Whether the connection has not ended."""
        try:
            return os.fstat(self.descriptor).st_ino == self.inode
        except OSError:
            return False

    def cut(self) -> None:
        """End the connection at both ends, if it is still the same."""
        if not self.there:
            return
        try:
            with socket.socket(fileno=os.dup(self.descriptor)) as ours:
                ours.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it has ended by itself


@dataclass(frozen=True, slots=True)
class Queued:
    """A frame that waits; `ends` is the call it ends, None for an event."""

    data: bytes
    ends: int | None


@dataclass(slots=True, eq=False)
class OpenCall:
    """A call in progress: the proof it runs under, the digest of what it carries, and the timer of its time-out."""

    channel: Channel
    authorized: Authorized
    digest: str = ""
    timer: asyncio.TimerHandle | None = None


@dataclass(slots=True, eq=False)
class Client:
    """One connection. Written by the gate only."""

    routing: bytes
    account: Account
    public: str
    """Its key: that of its connection, which never changes."""
    wire: Wire | None = None
    strikes: Strikes = field(default_factory=Strikes)
    told_key: bool = False
    """It knows which server key comes next."""
    standing: Standing = Standing.SERVED
    calls: dict[int, OpenCall] = field(default_factory=dict)
    bond: Bond = field(default_factory=Bond)
    backlog: deque[Queued] = field(default_factory=deque)
    backlog_bytes: int = 0

    def push(self, queued: Queued) -> None:
        """Put a frame at the end of the backlog."""
        self.backlog.append(queued)
        self.backlog_bytes += len(queued.data)
        self.account.backlog_bytes += len(queued.data)

    def pop(self) -> None:
        """Take the frame at the head of the backlog away."""
        size = len(self.backlog.popleft().data)
        self.backlog_bytes -= size
        self.account.backlog_bytes -= size

    def drop_backlog(self) -> tuple[int, ...]:
        """Forget the backlog; the calls whose last frame was in it."""
        lost = tuple(queued.ends for queued in self.backlog if queued.ends is not None)
        self.backlog.clear()
        self.account.backlog_bytes -= self.backlog_bytes
        self.backlog_bytes = 0
        return lost

    @property
    def forgettable(self) -> bool:
        """Whether nothing would be lost by forgetting it: nothing is under way, and its connection has ended."""
        return not self.calls and not self.backlog and (self.wire is None or not self.wire.there)
