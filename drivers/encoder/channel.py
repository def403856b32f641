"""The bytes between the kernel and an encoder: MessagePack frames over an inherited socket pair.

Nobody else can connect to it. The settings and then orders go one way; the reports of the port, and one `Failure`
before the encoder gives up, the other.
"""

from __future__ import annotations

from multiprocessing.connection import Connection
from socket import AF_UNIX, SOCK_STREAM, socketpair

import msgspec

from llmos.drivers.encoder.settings import EncoderSettings
from llmos.kernel.ports.encoder import Encoded, EncodeOrder, EncoderReady
from llmos.kernel.ports.engine import Message


class Failure(Message, frozen=True, tag="failure"):
    """The encoder's last words. `refused`: starting it again would end the same way."""

    message: str
    refused: bool


Frame = EncoderReady | Encoded | Failure

_ENCODER = msgspec.msgpack.Encoder()
_SETTINGS = msgspec.msgpack.Decoder(EncoderSettings)
_ORDERS = msgspec.msgpack.Decoder(EncodeOrder)
_FRAMES: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)


def channel_pair() -> tuple[Connection, Connection]:
    """Two connected ends; neither is inherited unless handed over."""
    left, right = socketpair(AF_UNIX, SOCK_STREAM)
    return Connection(left.detach()), Connection(right.detach())


def send(channel: Connection, message: EncoderSettings | EncodeOrder | Frame) -> None:
    """Write one frame. Raises `OSError` when the other end is gone."""
    channel.send_bytes(_ENCODER.encode(message))


def receive_settings(channel: Connection) -> EncoderSettings:
    """Read the first frame of an encoder. Raises `EOFError`."""
    return _SETTINGS.decode(channel.recv_bytes())


def decode_order(data: bytes) -> EncodeOrder:
    """The order in one frame."""
    return _ORDERS.decode(data)


def receive_frame(channel: Connection) -> Frame:
    """Read one report. Raises `EOFError` when the other end is gone."""
    return _FRAMES.decode(channel.recv_bytes())
