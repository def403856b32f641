"""The bytes between the kernel and a worker: MessagePack frames over an inherited socket pair.

Nobody else can connect to it. Orders go one way; reports, and one `Failure` before the worker gives up, the other. A
report may be many bytes, and the kernel's loop makes what it watches non-blocking: so the kernel's end takes what has
arrived and does not wait for the rest of a frame. It does not know what orders and reports mean.
"""

from __future__ import annotations

import struct
from multiprocessing.connection import Connection
from select import POLLOUT, poll
from socket import AF_UNIX, MSG_DONTWAIT, SOCK_STREAM, socket, socketpair
from typing import Generic, TypeVar

import msgspec

from llmos.kernel.ports.engine import Message

Frame = TypeVar("Frame")

PATIENCE = 10.0
"""Seconds for which a worker may take nothing of an order. One that lives reads at any time, whatever it computes."""

MOST_BYTES = 1 << 28
"""Of one frame; only garbage says that it is longer."""

_BLOCK = 1 << 18
_LENGTH = struct.Struct("!i")
"""What stands before each frame, as `multiprocessing.connection` writes it."""

_ENCODER = msgspec.msgpack.Encoder()


class Failure(Message, frozen=True, tag="failure"):
    """A worker's last words. `refused`: starting it again would end the same way."""

    message: str
    refused: bool


class Garbled(Exception):
    """What arrived is no frame, and what comes after it cannot be read any more."""


class KernelEnd(Generic[Frame]):
    """The kernel's end of a channel. Works alike whether or not the socket blocks."""

    def __init__(self, end: socket, frames: msgspec.msgpack.Decoder[Frame], patience: float = PATIENCE) -> None:
        self._socket = end
        self._frames = frames
        self._patience = patience
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

    def send(self, message: Message) -> None:
        """Write one frame, waiting for room. Raises `OSError`; `TimeoutError` when the worker takes nothing, and then
        the channel is of no use any more.
        """
        data = _ENCODER.encode(message)
        left = memoryview(_LENGTH.pack(len(data)) + data)
        while left:
            try:
                left = left[self._socket.send(left, MSG_DONTWAIT) :]
            except BlockingIOError:
                self._wait_for_room()

    def receive(self) -> Frame | None:
        """The next report, or None when none has arrived whole. Raises `EOFError`, `OSError` and `Garbled`."""
        while not self._whole:
            try:
                data = self._socket.recv(_BLOCK, MSG_DONTWAIT)
            except BlockingIOError:
                return None
            if not data:
                raise EOFError
            self._arrived += data
        return self._take()

    def _take(self) -> Frame:
        end = _LENGTH.size + self._length
        data = bytes(self._arrived[_LENGTH.size : end])
        del self._arrived[:end]
        try:
            return self._frames.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            # Without the reason: it may quote what people wrote.
            raise Garbled(f"a frame of {len(data)} bytes that is no report") from None

    def _wait_for_room(self) -> None:
        if not self._room.poll(self._patience * 1000):
            raise TimeoutError(f"it takes nothing for {self._patience:g} s")

    @property
    def _length(self) -> int:
        length: int = _LENGTH.unpack_from(self._arrived)[0]
        if not 0 <= length <= MOST_BYTES:
            raise Garbled(f"a frame of {length} bytes; the longest has {MOST_BYTES}")
        return length

    @property
    def _whole(self) -> bool:
        return len(self._arrived) >= _LENGTH.size and len(self._arrived) >= _LENGTH.size + self._length


def channel_pair() -> tuple[socket, socket]:
    """The socket of a `KernelEnd`, and the one that a worker makes its `Connection` of; none is inherited by itself."""
    return socketpair(AF_UNIX, SOCK_STREAM)


def send_frame(channel: Connection, frame: Message) -> None:
    """A worker writes one report. Raises `OSError` when the kernel's end is gone."""
    channel.send_bytes(_ENCODER.encode(frame))
