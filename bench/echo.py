"""`python -m bench.echo`: a bare ZeroMQ server that answers every message with the same bytes; the peer of a null call.

It reads one line of JSON from stdin, says `ready` and serves until it is ended.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import zmq


class Orders(msgspec.Struct, frozen=True):
    """What to serve. With a `secret` key the socket speaks CURVE and takes any client."""

    endpoint: str
    reply: bytes
    secret: str | None = None


@contextmanager
def echo(orders: Orders) -> Iterator[int]:
    """A running echo in a process of its own; its process id."""
    command = [sys.executable, "-m", "bench.echo"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("the echo was started with pipes")
        process.stdin.write(msgspec.json.encode(orders) + b"\n")
        process.stdin.flush()
        if process.stdout.readline().strip() != b"ready":
            raise RuntimeError("the echo did not start")
        try:
            yield process.pid
        finally:
            process.terminate()


def serve(orders: Orders) -> None:
    """Answer for ever."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        if orders.secret is not None:
            router.curve_server = True
            router.curve_secretkey = orders.secret.encode()
        router.bind(orders.endpoint)
        print("ready", flush=True)
        while True:
            routing, _ = router.recv_multipart()
            router.send_multipart((routing, orders.reply))


if __name__ == "__main__":
    serve(msgspec.json.decode(sys.stdin.readline(), type=Orders))
