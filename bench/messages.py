"""Messages through the daemon: rate and latency, against a bare SQLite database with the same durability.

Rate: eight senders on connections of their own keep 64 sends under way each, and two receivers take up to 100 messages
at a time and acknowledge them with the next call. The peer is a loop in one process without any wire, that does the
same work for groups of 64 messages with WAL and `synchronous=FULL`: insert, mark as taken, delete, a commit each.
Latency: one message sent and its receipt awaited, while nothing else happens; the peer's is one message alone.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import zmq
from msgspec import Raw, msgpack

import llmos
from bench.daemon import Daemon, daemon
from bench.report import Fact, Figure, Findings, compare, percentile
from llmos.syscalls.abi.mail import Receive, Received, Send
from llmos.syscalls.wire.codec import decode_record, decode_response, encode_call
from llmos.syscalls.wire.frames import OkFrame, PingFrame
from llmos.syscalls.wire.keys import load_key

SENDERS, UNDER_WAY, RECEIVERS, AT_ONCE, GROUP = 8, 64, 2, 100, 64
BODY = b"x" * 100
PATIENCE_MILLISECONDS = 30_000

_SCHEMA = "create table messages(number integer primary key, pid integer, state integer, due real, body blob)"


class Lost(Exception):
    """A call failed, or messages are missing."""


@dataclass(slots=True, eq=False)
class _Measured:
    """One entry a round."""

    rate: list[float] = field(default_factory=list)
    latency: list[float] = field(default_factory=list)


def run(quick: bool) -> Findings:
    """Measure the daemon and its peer in turns."""
    each = 250 if quick else 2_000
    ours, bare = _Measured(), _Measured()
    with ExitStack() as stack:
        served = stack.enter_context(daemon(device_pages=8, host_memory="64MiB"))
        system = stack.enter_context(served.connect())
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="llmos-")))
        for turn in range(2 if quick else 5):
            process = system.spawn()
            ours.rate.append(_through_daemon(served, process.pid, each))
            bare.rate.append(_bare_rate(folder / f"rate-{turn}.db", SENDERS * each))
            ours.latency.append(percentile(_latency(process, 50 if quick else 300), 50))
            bare.latency.append(percentile(_bare_latency(folder / f"one-{turn}.db", 50 if quick else 300), 50))
            process.kill()
            process.wait()
        kept = next(metric.value for metric in system.metrics() if metric.name == "messages_kept")
    return Findings(_figures(ours, bare), (Fact("messages a round", SENDERS * each), Fact("messages lost", kept)))


def _figures(ours: _Measured, bare: _Measured) -> tuple[Figure, ...]:
    return (
        compare(
            "sent, received, acknowledged", "1/s", ours.rate, f"bare SQLite, {GROUP} a commit", bare.rate, "higher"
        ),
        compare("send to receipt, p50", "us", ours.latency, "bare SQLite, alone", bare.latency, "lower"),
    )


def _through_daemon(served: Daemon, pid: int, each: int) -> float:
    """Messages a second from the first send to the last acknowledgement."""
    began = time.perf_counter()
    left = _Left(SENDERS * each)
    threads = [threading.Thread(target=_send, args=(served, pid, each)) for _ in range(SENDERS)]
    threads += [threading.Thread(target=_receive, args=(served, pid, left)) for _ in range(RECEIVERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if left.count:
        raise Lost(f"{left.count} messages did not come")
    return SENDERS * each / (time.perf_counter() - began)


@dataclass(slots=True, eq=False)
class _Left:
    """Messages that have not come yet."""

    count: int
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, number: int) -> None:
        """So many have come."""
        with self.lock:
            self.count -= number


def _send(served: Daemon, pid: int, each: int) -> None:
    with zmq.Context() as context, _dealer(context, served) as socket:
        body = Raw(msgpack.encode(BODY))
        frames = [encode_call(number + 1, "ipc.send", Send(pid, body)) for number in range(each)]
        for frame in frames[:UNDER_WAY]:
            socket.send(frame)
        for number in range(each):
            _answer(socket)
            if number + UNDER_WAY < each:
                socket.send(frames[number + UNDER_WAY])


def _receive(served: Daemon, pid: int, left: _Left) -> None:
    done: tuple[int, ...] = ()
    with zmq.Context() as context, _dealer(context, served) as socket:
        number = 0
        while left.count > 0 or done:
            number += 1
            request = Receive(pid, timeout=0.2, count=AT_ONCE, acknowledge=done)
            socket.send(encode_call(number, "ipc.receive", request))
            answer = _frame(socket)
            messages = decode_record(Received, answer.ok).messages if isinstance(answer, OkFrame) else ()
            done = tuple(message.number for message in messages)
            left.take(len(done))


def _dealer(context: zmq.Context[zmq.Socket[bytes]], served: Daemon) -> zmq.Socket[bytes]:
    key = load_key(served.key)
    socket = context.socket(zmq.DEALER)
    socket.linger, socket.rcvtimeo = 0, PATIENCE_MILLISECONDS
    socket.curve_publickey, socket.curve_secretkey = key.pair.public.encode(), key.pair.secret.encode()
    socket.curve_serverkey = key.server.encode()
    socket.connect(served.endpoint)
    return socket


def _frame(socket: zmq.Socket[bytes]) -> object:
    while isinstance(frame := decode_response(socket.recv()), PingFrame):
        pass
    return frame


def _answer(socket: zmq.Socket[bytes]) -> None:
    frame = _frame(socket)
    if not isinstance(frame, OkFrame):
        raise Lost(f"a send failed: {frame}")


def _latency(process: llmos.Process, count: int) -> list[float]:
    """Microseconds from the begin of a send to its receipt by one who waits for it."""
    times: list[float] = []
    for number in range(count):
        began = time.perf_counter()
        process.send(number)
        process.receive()
        times.append(1e6 * (time.perf_counter() - began))
    return times


def _bare_rate(path: Path, count: int) -> float:
    with _Bare(path) as commit:
        began = time.perf_counter()
        for first in range(0, count, GROUP):
            commit(range(first, min(first + GROUP, count)))
        return count / (time.perf_counter() - began)


def _bare_latency(path: Path, count: int) -> list[float]:
    times: list[float] = []
    with _Bare(path) as commit:
        for number in range(count):
            began = time.perf_counter()
            commit(range(number, number + 1))
            times.append(1e6 * (time.perf_counter() - began))
    return times


class _Bare:
    """A database, and what puts messages into it, takes them and removes them, each with a commit of its own."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("pragma journal_mode=wal")
        self._connection.execute("pragma synchronous=full")
        self._connection.execute(_SCHEMA)
        self._connection.execute("create index messages_of on messages(pid, state, number)")

    def __enter__(self) -> Callable[[range], None]:
        return self._pass

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    def _pass(self, numbers: range) -> None:
        now = time.time()
        self._together("insert into messages values(?, 7, 0, null, ?)", [(number, BODY) for number in numbers])
        taken = self._connection.execute(
            "select number, body from messages where pid = 7 and state = 0 order by number limit ?", (len(numbers),)
        ).fetchall()
        marked = [(now + 30, number) for number, _ in taken]
        self._together("update messages set state = 1, due = ? where number = ?", marked)
        self._together("delete from messages where number = ?", [(number,) for number, _ in taken])

    def _together(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        self._connection.execute("begin")
        self._connection.executemany(statement, rows)
        self._connection.execute("commit")
