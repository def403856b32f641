"""What containers have said, as the engine keeps it: frames of a head of 8 bytes and a line with its time.

Docker's log stream: byte 0 of the head is the stream (1 out, 2 err), bytes 4 to 8 the length, big-endian.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import Protocol

import requests
import urllib3

from llmos.kernel.ports.sandbox import Said, Stream
from llmos.sandbox.inside import READY
from llmos.syscalls.abi import errors as abi

_HEAD = struct.Struct(">BxxxI")
_STREAMS = {1: Stream.OUT, 2: Stream.ERR}
_LATEST, _BEFORE = 256, 1e-5
"""So many pieces are known again when what was said in so many seconds before the last one is read twice."""

Ask = Callable[[float], requests.Response]


class Source(Protocol):
    """Bytes of an answer that comes in."""

    def read(self, length: int) -> bytes:
        """Up to so many; nothing at the end."""
        ...


class LogReading:
    """What a container has said since a moment; `ask` gets the engine's answer for what is after a moment.

    An answer that follows ends when the container does, and the engine may leave out the end of what was said: a last
    line without its newline. So it is asked once more for `rest`, from the last piece on.
    """

    def __init__(self, ask: Ask, rest: Ask | None, since: float) -> None:
        self._answer = ask(since)
        self._rest = rest
        self._since = since
        self._latest: deque[Said] = deque(maxlen=_LATEST)
        self._closed = False

    def __iter__(self) -> Iterator[Said]:
        try:
            yield from self._after(self._since, again=False)
            if self._rest is not None and not self._closed:
                from_here = self._latest[-1].at - _BEFORE if self._latest else self._since
                self._answer = self._rest(from_here)
                yield from self._after(from_here, again=True)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            if not self._closed:
                raise abi.DeviceError(f"the output cannot be read any more: {error}") from None

    def _after(self, moment: float, again: bool) -> Iterator[Said]:
        """What is new of the answer."""
        for said in lines(self._answer.raw):
            if self._closed:
                return
            if said.at > moment and not (again and said in self._latest):
                self._latest.append(said)
                yield said

    def close(self) -> None:
        # Whoever waits for the next line is woken by the end of the connection.
        self._closed = True
        connection = getattr(self._answer.raw, "_connection", None)
        plain = getattr(connection, "sock", None)
        if plain is not None:
            with suppress(OSError):
                plain.shutdown(socket.SHUT_RDWR)


def lines(source: Source) -> Iterator[Said]:
    """Everything that was said, in order, without the mark that a container is ready."""
    while head := _exactly(source, _HEAD.size):
        stream, length = _HEAD.unpack(head)
        said = _said(_STREAMS.get(stream, Stream.OUT), _exactly(source, length))
        if said.data != READY:
            yield said


def _said(stream: Stream, line: bytes) -> Said:
    time, _, data = line.partition(b" ")
    return Said(stream, data, seconds_of(time.decode("ascii", "replace")))


def seconds_of(time: str) -> float:
    """Seconds since the epoch of a time with nanoseconds, as the engine writes it."""
    whole, _, fraction = time.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction or 0}")


def _exactly(source: Source, length: int) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        part = source.read(length - len(parts))
        if not part:
            return b""
        parts += part
    return bytes(parts)
