"""What crosses the channel between the kernel and an encoder: its settings and orders one way, reports the other."""

from __future__ import annotations

from multiprocessing.connection import Connection

import msgspec

from llmos.drivers.encoder.settings import EncoderSettings
from llmos.drivers.workers.channel import Failure
from llmos.kernel.ports.encoder import Encoded, EncodeOrder, EncoderReady

Frame = EncoderReady | Encoded | Failure

FRAMES: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)
_SETTINGS = msgspec.msgpack.Decoder(EncoderSettings)
_ORDERS = msgspec.msgpack.Decoder(EncodeOrder)


def receive_settings(channel: Connection) -> EncoderSettings:
    """Read the first frame of an encoder. Raises `EOFError`."""
    return _SETTINGS.decode(channel.recv_bytes())


def decode_order(data: bytes) -> EncodeOrder:
    """The order in one frame."""
    return _ORDERS.decode(data)
