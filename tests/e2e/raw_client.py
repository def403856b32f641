"""A client that may say anything: a DEALER socket and MessagePack, without the SDK's checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import msgpack
import zmq

from llmos.syscalls.wire.keys import Key, load_key

PATIENCE_MS = 120_000

Frame = dict[str, object]


@dataclass(slots=True)
class RawClient:
    """One connection; pings are dropped."""

    socket: zmq.Socket[bytes]
    ids: Iterator[int] = field(default_factory=lambda: count(1))

    def send(self, data: bytes) -> None:
        """Any bytes."""
        self.socket.send(data)

    def start(self, call: object, arguments: object, **fields: object) -> int:
        """Any call; its id."""
        id = next(self.ids)
        self.send(packed({"v": 1, "id": id, "call": call, "args": arguments, **fields}))
        return id

    def credit(self, id: int, credit: int) -> None:
        """Allow a stream more events."""
        self.send(packed({"v": 1, "id": id, "credit": credit}))

    def read(self) -> Frame:
        """The next frame that is no ping."""
        while self.socket.poll(PATIENCE_MS):
            frame: Frame = msgpack.unpackb(self.socket.recv())
            if "ok" in frame or "err" in frame or "ev" in frame:
                return frame
        raise TimeoutError("no answer came")

    def call(self, name: object, arguments: object, **fields: object) -> Frame:
        """Call, and read the answer."""
        id = self.start(name, arguments, **fields)
        frame = self.read()
        assert frame["id"] in (id, 0), frame
        return frame

    def error(self, name: object, arguments: object, **fields: object) -> str:
        """Call, and the name of the error that must come."""
        return error_name(self.call(name, arguments, **fields))


def error_name(frame: Frame) -> str:
    """The name of the error in an answer; it must have a message too."""
    error = frame.get("err")
    assert isinstance(error, dict), frame
    assert error["message"]
    return str(error["name"])


def packed(value: object) -> bytes:
    """MessagePack."""
    data: bytes = msgpack.packb(value)
    return data


def unpacked(frame: Frame, kind: str) -> Mapping[str, object]:
    """The map in a frame of this kind."""
    value = frame[kind]
    assert isinstance(value, dict)
    return value


@contextmanager
def raw_client(endpoint: str, key: Path | Key) -> Iterator[RawClient]:
    """Connect with a good key."""
    loaded = key if isinstance(key, Key) else load_key(key)
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.curve_publickey = loaded.pair.public.encode()
        socket.curve_secretkey = loaded.pair.secret.encode()
        socket.curve_serverkey = loaded.server.encode()
        socket.connect(endpoint)
        yield RawClient(socket)
