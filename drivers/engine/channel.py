"""The bytes between the kernel and an engine: MessagePack frames over an inherited socket pair.

Nobody else can connect to it. Plans go one way; the reports of the port, and one `Failure` before the engine
gives up, the other.
"""

from __future__ import annotations

from multiprocessing.connection import Connection
from socket import AF_UNIX, SOCK_STREAM, socketpair

import msgspec

from llmos.kernel.ports.engine import Message, Outcome, Plan, Ready


class Failure(Message, frozen=True, tag="failure"):
    """The engine's last words. `refused`: starting it again would end the same way."""

    message: str
    refused: bool


Frame = Ready | Outcome | Failure

_ENCODER = msgspec.msgpack.Encoder()
_PLANS = msgspec.msgpack.Decoder(Plan)
_FRAMES: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)


def channel_pair() -> tuple[Connection, Connection]:
    """Two connected ends; neither is inherited unless handed over."""
    left, right = socketpair(AF_UNIX, SOCK_STREAM)
    return Connection(left.detach()), Connection(right.detach())


def send_plan(channel: Connection, plan: Plan) -> None:
    """Write one plan. Raises `OSError` when the other end is gone."""
    channel.send_bytes(_ENCODER.encode(plan))


def decode_plan(data: bytes) -> Plan:
    """The plan in one frame."""
    return _PLANS.decode(data)


def send_frame(channel: Connection, frame: Frame) -> None:
    """Write one report. Raises `OSError` when the other end is gone."""
    channel.send_bytes(_ENCODER.encode(frame))


def receive_frame(channel: Connection) -> Frame:
    """Read one report. Raises `EOFError` when the other end is gone."""
    return _FRAMES.decode(channel.recv_bytes())
