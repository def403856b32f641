"""The envelopes of the wire: what a client sends to the kernel, and what comes back.

One message is one ZeroMQ frame and one MessagePack map. Arguments, replies and events stay undecoded (`Raw`)
here: which type they have depends on the call, and `codec` looks that up. This module does not know bytes or
sockets.

Rules: an id is chosen by the client, is at least 1 and names one call of one connection. `NO_CALL` in a reply
means that the kernel could not read the id of what it refuses.
"""

from __future__ import annotations

from msgspec import Raw, Struct

from llmos.syscalls.abi.errors import Failure, ProtocolError

MAX_FRAME = 4 << 20
"""Largest message to the kernel, in bytes."""

MAX_REPLY = 64 << 20
"""Largest message to a client, in bytes."""

MAX_ID = (1 << 53) - 1
MAX_CREDIT = 1 << 16
NO_CALL = 0


class CallFrame(Struct, frozen=True):
    """Perform a call. `timeout` in seconds: after it the kernel gives up and answers ETIMEDOUT."""

    id: int
    call: str
    args: Raw
    timeout: float | None = None


class CancelFrame(Struct, frozen=True):
    """Stop a call. Its reply still comes; for an id that is not open nothing happens."""

    id: int


class CreditFrame(Struct, frozen=True):
    """Allow the stream of a call `credit` more events."""

    id: int
    credit: int


RequestFrame = CallFrame | CancelFrame | CreditFrame


class OkFrame(Struct, frozen=True):
    """The reply of a call that succeeded; the last frame of its id."""

    id: int
    ok: Raw


class ErrorFrame(Struct, frozen=True):
    """The failure of a call; the last frame of its id."""

    id: int
    err: Failure


class EventFrame(Struct, frozen=True):
    """One event of a stream; costs one credit."""

    id: int
    ev: Raw


class PingFrame(Struct, frozen=True):
    """The kernel is alive; asks for nothing. `next_server` is the daemon's key that follows, during a rotation."""

    next_server: str | None = None


ReplyFrame = OkFrame | ErrorFrame | EventFrame | PingFrame


class BadFrame(ProtocolError):
    """Bytes that are no message of this protocol. `id` is the call they meant, `NO_CALL` if unreadable."""

    def __init__(self, message: str, id: int = NO_CALL, hint: str = "") -> None:
        super().__init__(message, hint)
        self.id = id
