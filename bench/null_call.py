"""A system call that does nothing, against a bare ZeroMQ echo with messages of the same sizes, with and without CURVE.

The call is `gen.cancel` of a process that generates nothing: it has the smallest request and reply, and it passes the
gate, the membrane, the core and the planner. All servers get it from the same client: a DEALER socket that sends bytes
encoded before and waits for the answer. The SDK and `proc.info`, which has the larger reply, stand beside it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import zmq

import llmos
from bench.bare import Echo, Orders, bare_server
from bench.daemon import Daemon, daemon
from bench.report import Fact, Figure, Findings, compare, percentile
from llmos.syscalls.abi.messages import OnProcess
from llmos.syscalls.wire.codec import encode_call, encode_ping
from llmos.syscalls.wire.keys import KeyPair, load_key, new_keypair

CLIENTS = 32
PATIENCE_MILLISECONDS = 10_000
_PING = encode_ping()


class NoAnswer(Exception):
    """A server did not answer in time."""


@dataclass(frozen=True, slots=True)
class _Server:
    """Who is called, and how: `server` is its CURVE key, if it has one. One client calls again and again."""

    name: str
    os_pid: int
    endpoint: str
    frame: bytes
    pair: KeyPair
    server: str | None


@dataclass(slots=True, eq=False)
class _Case:
    """Measurements of one server, one entry a round: microseconds, and calls a second."""

    server: _Server
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    many: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def run(quick: bool) -> Findings:
    """Measure all servers in turns."""
    with ExitStack() as stack:
        served = stack.enter_context(daemon(device_pages=8, host_memory="64MiB"))
        system = stack.enter_context(served.connect())
        process = system.spawn()
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="llmos-")))
        cases = [_Case(server) for server in _servers(stack, served, process, folder)]
        sdk: list[float] = []
        for _ in range(2 if quick else 7):
            for case in cases:
                _alone(case, 300 if quick else 2_000)
            sdk.append(percentile(_sdk(process, 300 if quick else 2_000), 50))
            for case in cases:
                _together(case, 0.5 if quick else 1.5)
        sizes = _facts(cases)
    return Findings((*_figures(cases, sdk),), sizes)


def _servers(stack: ExitStack, served: Daemon, process: llmos.Process, folder: Path) -> list[_Server]:
    key, request = load_key(served.key), OnProcess(process.pid)
    null, info = encode_call(1, "gen.cancel", request), encode_call(1, "proc.info", request)
    kernel = _Server("gen.cancel", served.os_pid, served.endpoint, null, key.pair, key.server)
    with _client(kernel) as socket:
        reply = _call(socket, null)
    pair = new_keypair()
    safe, bare = (f"ipc://{folder / name}" for name in ("curve", "bare"))
    safe_pid = stack.enter_context(bare_server(Orders(safe, Echo(reply), pair.secret)))
    bare_pid = stack.enter_context(bare_server(Orders(bare, Echo(reply))))
    return [
        kernel,
        _Server("echo with CURVE", safe_pid, safe, null, key.pair, pair.public),
        _Server("echo without CURVE", bare_pid, bare, null, key.pair, None),
        _Server("proc.info", served.os_pid, served.endpoint, info, key.pair, key.server),
    ]


@contextmanager
def _client(server: _Server) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context:
        yield from _sockets(context, server)


def _sockets(context: zmq.Context[zmq.Socket[bytes]], server: _Server) -> Iterator[zmq.Socket[bytes]]:
    with context.socket(zmq.DEALER) as socket:
        socket.linger, socket.rcvtimeo = 0, PATIENCE_MILLISECONDS
        if server.server is not None:
            socket.curve_publickey, socket.curve_secretkey = server.pair.public.encode(), server.pair.secret.encode()
            socket.curve_serverkey = server.server.encode()
        socket.connect(server.endpoint)
        yield socket


def _call(socket: zmq.Socket[bytes], frame: bytes) -> bytes:
    socket.send(frame)
    try:
        while (answer := socket.recv()) == _PING:
            pass
    except zmq.Again:
        raise NoAnswer(f"no answer after {PATIENCE_MILLISECONDS} ms") from None
    return answer


def _alone(case: _Case, calls: int) -> None:
    """One client: times of single calls."""
    with _client(case.server) as socket:
        for _ in range(50):
            _call(socket, case.server.frame)
        times = []
        began = time.perf_counter()
        for _ in range(calls):
            sent = time.perf_counter()
            _call(socket, case.server.frame)
            times.append(1e6 * (time.perf_counter() - sent))
        case.rate.append(calls / (time.perf_counter() - began))
    case.p50.append(percentile(times, 50))
    case.p99.append(percentile(times, 99))


def _sdk(process: llmos.Process, calls: int) -> list[float]:
    times = []
    for _ in range(calls):
        sent = time.perf_counter()
        process.info()
        times.append(1e6 * (time.perf_counter() - sent))
    return times


def _together(case: _Case, seconds: float) -> None:
    """Many clients, each with one call under way at a time: answers a second, and what one costs the server."""
    frame, server = case.server.frame, psutil.Process(case.server.os_pid)
    with ExitStack() as stack:
        context = stack.enter_context(zmq.Context())
        poller = zmq.Poller()
        for _ in range(CLIENTS):
            socket = stack.enter_context(contextmanager(_sockets)(context, case.server))
            _call(socket, frame)
            poller.register(socket, zmq.POLLIN)
            socket.send(frame)
        began, before, answers = time.perf_counter(), server.cpu_times(), 0
        while time.perf_counter() - began < seconds:
            answers += _answer_all(poller, frame)
        taken, after = time.perf_counter() - began, server.cpu_times()
    case.many.append(answers / taken)
    case.cpu.append(1e6 * (after.user + after.system - before.user - before.system) / answers)


def _answer_all(poller: zmq.Poller, frame: bytes) -> int:
    ready = poller.poll(PATIENCE_MILLISECONDS)
    if not ready:
        raise NoAnswer(f"no answer after {PATIENCE_MILLISECONDS} ms")
    answers = 0
    for socket, _ in ready:
        if socket.recv() != _PING:
            socket.send(frame)
            answers += 1
    return answers


def _figures(cases: Sequence[_Case], sdk: Sequence[float]) -> list[Figure]:
    kernel, safe, bare, info = cases
    figures = []
    for peer in (safe, bare):
        name = peer.server.name
        figures += [
            compare("null call, p50", "us", kernel.p50, name, peer.p50, "lower"),
            compare("null call, p99", "us", kernel.p99, name, peer.p99, "lower"),
            compare("null calls, 1 client", "1/s", kernel.rate, name, peer.rate, "higher"),
            compare(f"null calls, {CLIENTS} clients", "1/s", kernel.many, name, peer.many, "higher"),
            compare(f"CPU of the server, {CLIENTS} clients", "us/call", kernel.cpu, name, peer.cpu, "lower"),
        ]
    name = safe.server.name
    figures.append(compare("proc.info, p50", "us", info.p50, name, safe.p50, "lower"))
    figures.append(compare(f"proc.info, {CLIENTS} clients", "1/s", info.many, name, safe.many, "higher"))
    figures.append(compare("proc.info through the SDK, p50", "us", sdk, "the same without the SDK", info.p50, "lower"))
    return figures


def _facts(cases: Sequence[_Case]) -> tuple[Fact, ...]:
    facts = []
    for case in (cases[0], cases[3]):
        with _client(case.server) as socket:
            answer = _call(socket, case.server.frame)
        facts.append(Fact(f"{case.server.name}: request", len(case.server.frame), "bytes"))
        facts.append(Fact(f"{case.server.name}: reply", len(answer), "bytes"))
    return tuple(facts)
