"""What containers have said, as the engine keeps it: frames of a head of 8 bytes and a line with its time.

Docker's log stream: byte 0 of the head is the stream (1 out, 2 err), bytes 4 to 8 the length, big-endian.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
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


class Source(Protocol):
    """Bytes of an answer that comes in."""

    def read(self, length: int) -> bytes:
        """Up to so many; nothing at the end."""
        ...


class LogReading:
    """An answer of the engine that goes on until the container ends."""

    def __init__(self, answer: requests.Response, since: float) -> None:
        self._answer = answer
        self._since = since
        self._closed = False

    def __iter__(self) -> Iterator[Said]:
        try:
            for said in lines(self._answer.raw):
                if self._closed:
                    return
                if said.at > self._since:
                    yield said
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            if not self._closed:
                raise abi.DeviceError(f"the output cannot be read any more: {error}") from None

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
