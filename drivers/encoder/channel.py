"""The bytes between the kernel and an encoder: MessagePack frames over an inherited socket pair.

Nobody else can connect to it. The settings and then orders go one way; the reports of the port, and one `Failure`
before the encoder gives up, the other. Vectors are many bytes, and the kernel's loop makes what it watches
non-blocking: so the kernel's end takes what has arrived and waits for the rest of a frame without blocking.
"""

from __future__ import annotations

import struct
from multiprocessing.connection import Connection
from select import POLLOUT, poll
from socket import AF_UNIX, MSG_DONTWAIT, SOCK_STREAM, socket, socketpair

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


_LENGTH = struct.Struct("!i")
"""What stands before each frame, as `multiprocessing.connection` writes it."""

_BLOCK = 1 << 18


class KernelEnd:
    """The kernel's end of a channel. Works alike whether or not the socket blocks."""

    def __init__(self, end: socket) -> None:
        self._socket = end
        # Unlike `select`, it takes descriptors of any number.
        self._room = poll()
        self._room.register(end, POLLOUT)
        self._arrived = bytearray()

    def fileno(self) -> int:
        """For a loop to watch; -1 when it is closed."""
        return self._socket.fileno()

    def close(self) -> None:
        """May be called twice."""
        self._socket.close()

    def send(self, message: EncoderSettings | EncodeOrder) -> None:
        """Write one frame; an encoder reads at any time, so there is soon room. Raises `OSError`."""
        data = _ENCODER.encode(message)
        left = memoryview(_LENGTH.pack(len(data)) + data)
        while left:
            try:
                left = left[self._socket.send(left, MSG_DONTWAIT) :]
            except BlockingIOError:
                self._room.poll()

    def receive(self) -> Frame | None:
        """The next report, or None when none has arrived whole. Raises `EOFError` and `OSError`."""
        while not self._whole:
            try:
                data = self._socket.recv(_BLOCK, MSG_DONTWAIT)
            except BlockingIOError:
                return None
            if not data:
                raise EOFError
            self._arrived += data
        end = _LENGTH.size + self._length
        frame = _FRAMES.decode(bytes(self._arrived[_LENGTH.size : end]))
        del self._arrived[:end]
        return frame

    @property
    def _length(self) -> int:
        length: int = _LENGTH.unpack_from(self._arrived)[0]
        return length

    @property
    def _whole(self) -> bool:
        return len(self._arrived) >= _LENGTH.size and len(self._arrived) >= _LENGTH.size + self._length


def channel_pair() -> tuple[KernelEnd, socket]:
    """The kernel's end, and the socket that an encoder makes its `Connection` of; none is inherited by itself."""
    ours, theirs = socketpair(AF_UNIX, SOCK_STREAM)
    return KernelEnd(ours), theirs


def send_frame(channel: Connection, frame: Frame) -> None:
    """Write one report. Raises `OSError` when the other end is gone."""
    channel.send_bytes(_ENCODER.encode(frame))


def receive_settings(channel: Connection) -> EncoderSettings:
    """Read the first frame of an encoder. Raises `EOFError`."""
    return _SETTINGS.decode(channel.recv_bytes())


def decode_order(data: bytes) -> EncodeOrder:
    """The order in one frame."""
    return _ORDERS.decode(data)
