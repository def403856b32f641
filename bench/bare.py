"""`python -m bench.bare`: bare ZeroMQ servers, with and without CURVE: what calls and files are compared with.

It reads one line of JSON from stdin, says `ready` and serves until it is ended.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import assert_never

import msgspec
import zmq

SIZE = 1 << 20
"""Of a message of a stream, in bytes."""


class Echo(msgspec.Struct, frozen=True, tag="echo"):
    """Answers every message with the same bytes; the peer of a null call."""

    reply: bytes


class Stream(msgspec.Struct, frozen=True, tag="stream"):
    """Takes and sends as many messages of `SIZE` as a client says in a `Wish`; the peer of files."""


class Wish(msgspec.Struct, frozen=True):
    """So many messages, from the client (answered once, when all are here) or to it."""

    take: int = 0
    give: int = 0


class Orders(msgspec.Struct, frozen=True):
    """What to serve where. With a `secret` key the socket speaks CURVE and takes any client."""

    endpoint: str
    service: Echo | Stream
    secret: str | None = None


@contextmanager
def bare_server(orders: Orders) -> Iterator[int]:
    """A running server in a process of its own; its process id."""
    command = [sys.executable, "-m", "bench.bare"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("the server was started with pipes")
        process.stdin.write(msgspec.json.encode(orders) + b"\n")
        process.stdin.flush()
        if process.stdout.readline().strip() != b"ready":
            raise RuntimeError("the server did not start")
        try:
            yield process.pid
        finally:
            process.terminate()


def serve(orders: Orders) -> None:
    """Serve for ever."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        if orders.secret is not None:
            router.curve_server = True
            router.curve_secretkey = orders.secret.encode()
        match orders.service:
            case Echo(reply):
                router.bind(orders.endpoint)
                print("ready", flush=True)
                _echo(router, reply)
            case Stream():
                router.sndhwm = 0
                router.bind(orders.endpoint)
                print("ready", flush=True)
                _stream(router)
            case _:
                assert_never(orders.service)


def _echo(router: zmq.Socket[bytes], reply: bytes) -> None:
    while True:
        routing, _ = router.recv_multipart()
        router.send_multipart((routing, reply))


def _stream(router: zmq.Socket[bytes]) -> None:
    while True:
        routing, wish = router.recv_multipart()
        asked = msgspec.json.decode(wish, type=Wish)
        for _ in range(asked.take):
            router.recv_multipart()
        if asked.take:
            router.send_multipart((routing, b"taken"))
        for _ in range(asked.give):
            router.send_multipart((routing, bytes(SIZE)))


if __name__ == "__main__":
    serve(msgspec.json.decode(sys.stdin.readline(), type=Orders))
