"""`python -m bench.attackers`: many clients that must not get in, at full speed, until this process is ended.

It reads one line of JSON from stdin and says `ready` when all of them try. They run with the scheduling class for what
nobody waits for, so that what is measured is what they cost the server and not the processor time that they use
themselves, which in earnest is on other machines.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import zmq

from llmos.syscalls.wire.keys import KeyPair, new_keypair

RECONNECT_MILLISECONDS = 1


class Attack(msgspec.Struct, frozen=True):
    """Whom to attack: `clients` in equal parts with an unknown key, each of the `keys` (public, secret), and no key."""

    endpoint: str
    server: str
    clients: int
    keys: tuple[tuple[str, str], ...]
    pause: float | None = None
    """Seconds after which they all drop what they began and come anew; None for as a client of ZeroMQ does: refused, it
    comes back at once.
    """


@contextmanager
def attack(orders: Attack) -> Iterator[int]:
    """Attack in a process of its own; its process id."""
    command = [sys.executable, "-m", "bench.attackers"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("the attackers were started with pipes")
        process.stdin.write(msgspec.json.encode(orders) + b"\n")
        process.stdin.flush()
        if process.stdout.readline().strip() != b"ready":
            raise RuntimeError("the attackers did not start")
        try:
            yield process.pid
        finally:
            process.kill()


def serve(orders: Attack) -> None:
    """Try for ever."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    kinds: list[KeyPair | None] = [new_keypair(), None]
    kinds += [KeyPair(public, secret) for public, secret in orders.keys]  # type: ignore[arg-type] # checked by CURVE
    with zmq.Context() as context:
        sockets = [_client(context, orders, kinds[number % len(kinds)]) for number in range(orders.clients)]
        print("ready", flush=True)
        while orders.pause is None:
            signal.pause()
        while True:
            # One after the other gives up and comes anew: whoever is made to wait does not stay.
            for number in range(orders.clients):
                sockets[number].close(0)
                sockets[number] = _client(context, orders, kinds[number % len(kinds)])
            time.sleep(orders.pause)


def _client(context: zmq.Context[zmq.Socket[bytes]], orders: Attack, pair: KeyPair | None) -> zmq.Socket[bytes]:
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.reconnect_ivl = RECONNECT_MILLISECONDS
    if pair is not None:
        socket.curve_publickey, socket.curve_secretkey = pair.public.encode(), pair.secret.encode()
        socket.curve_serverkey = orders.server.encode()
    socket.connect(orders.endpoint)
    return socket


if __name__ == "__main__":
    serve(msgspec.json.decode(sys.stdin.readline(), type=Attack))
