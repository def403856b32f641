"""`python -m bench.bare_messages`: a bare ZeroMQ server with CURVE that takes and sends messages of one size; the
peer of files.

It reads one line of JSON from stdin, says `ready` and serves until it is ended. A client says how many messages it will
send (`take`, answered once when all are here) or wants (`give`).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import zmq

SIZE = 1 << 20


class Orders(msgspec.Struct, frozen=True):
    """Where to serve, and with which secret key."""

    endpoint: str
    secret: str


class Wish(msgspec.Struct, frozen=True):
    """So many messages, from the client or to it."""

    take: int = 0
    give: int = 0


@contextmanager
def messages(orders: Orders) -> Iterator[int]:
    """A running server in a process of its own; its process id."""
    command = [sys.executable, "-m", "bench.bare_messages"]
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
    """Take and give for ever."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.curve_server = True
        router.curve_secretkey = orders.secret.encode()
        router.sndhwm = 0
        router.bind(orders.endpoint)
        print("ready", flush=True)
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
