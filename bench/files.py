"""Reading and writing a file through the SDK, against bare messages of 1 MiB between two processes, CURVE on both.

Each round moves the same bytes both ways through both; what a `close` takes, which waits for the disk, stands beside
it.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import zmq

import llmos
from bench.bare import SIZE, Orders, Stream, Wish, bare_server
from bench.daemon import daemon
from bench.report import Figure, Findings, compare
from llmos.syscalls.wire.keys import KeyPair, new_keypair

_MEBIBYTE = 1 << 20


def run(quick: bool) -> Findings:
    """Measure in turns."""
    count = 64 if quick else 256
    sent: list[float] = []
    given: list[float] = []
    written: list[float] = []
    closed: list[float] = []
    read: list[float] = []
    with ExitStack() as stack:
        served = stack.enter_context(
            daemon(
                device_pages=8,
                host_memory="64MiB",
            )
        )
        system = stack.enter_context(served.connect())
        folder, pair = stack.enter_context(TemporaryDirectory(prefix="llmos-")), new_keypair()
        endpoint = f"ipc://{Path(folder) / 'peer'}"
        stack.enter_context(bare_server(Orders(endpoint, Stream(), pair.secret)))
        peer = _connect(stack, endpoint, pair)
        for _ in range(3 if quick else 7):
            sent.append(_send(peer, count))
            writing, closing = _write(system, count)
            written.append(writing)
            closed.append(closing)
            given.append(_take(peer, count))
            read.append(_read(system, count))
    return Findings((*_figures(sent, written, closed, given, read),))


def _figures(
    sent: list[float], written: list[float], closed: list[float], given: list[float], read: list[float]
) -> list[Figure]:
    name = "bare messages"
    return [
        compare("bytes written", "MiB/s", written, name, sent, "higher"),
        compare("bytes written, on the disk", "MiB/s", closed, name, sent, "higher"),
        compare("bytes read", "MiB/s", read, name, given, "higher"),
    ]


def _connect(stack: ExitStack, endpoint: str, server: KeyPair) -> zmq.Socket[bytes]:
    context, own = stack.enter_context(zmq.Context()), new_keypair()
    socket = stack.enter_context(context.socket(zmq.DEALER))
    socket.linger, socket.sndhwm, socket.rcvtimeo = 0, 0, 60_000
    socket.curve_publickey, socket.curve_secretkey = own.public.encode(), own.secret.encode()
    socket.curve_serverkey = server.public.encode()
    socket.connect(endpoint)
    return socket


def _send(peer: zmq.Socket[bytes], count: int) -> float:
    data, began = bytes(SIZE), time.perf_counter()
    peer.send(msgspec.json.encode(Wish(take=count)))
    for _ in range(count):
        peer.send(data)
    peer.recv()
    return _speed(count * SIZE, began)


def _take(peer: zmq.Socket[bytes], count: int) -> float:
    began = time.perf_counter()
    peer.send(msgspec.json.encode(Wish(give=count)))
    for _ in range(count):
        peer.recv()
    return _speed(count * SIZE, began)


def _write(system: llmos.System, count: int) -> tuple[float, float]:
    data, began = bytes(SIZE), time.perf_counter()
    with system.files.open("bench", "w") as file:
        for _ in range(count):
            file.write(data)
        file.flush()
        written = _speed(count * SIZE, began)
        file.close()
    return written, _speed(count * SIZE, began)


def _read(system: llmos.System, count: int) -> float:
    began, size = time.perf_counter(), 0
    with system.files.open("bench") as file:
        for chunk in file:
            size += len(chunk)
    if size != count * SIZE:
        raise AssertionError(f"{size} bytes of {count * SIZE}")
    return _speed(size, began)


def _speed(size: int, began: float) -> float:
    return size / _MEBIBYTE / (time.perf_counter() - began)
