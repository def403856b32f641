"""A working client's null-call rate while a hundred clients that must not get in try at full speed, and without them.

The attackers have unknown, revoked and expired keys and no key at all, in equal parts. Rounds with and without them
take turns.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack

import msgspec
import zmq

import llmos
from bench.attackers import Orders, attack
from bench.daemon import daemon
from bench.report import Fact, Findings, compare
from llmos.syscalls.abi.messages import OnProcess
from llmos.syscalls.wire.codec import encode_call, encode_ping
from llmos.syscalls.wire.keys import Key, load_key

ATTACKERS = 100
ROUND_SECONDS = 2.0
PATIENCE_MILLISECONDS = 10_000
_PING = encode_ping()


def run(quick: bool) -> Findings:
    """Rounds with and without attackers, over the socket file and over TCP."""
    with ExitStack() as stack:
        served = stack.enter_context(daemon(listen=True, device_pages=8, host_memory="64MiB"))
        system = stack.enter_context(served.connect())
        frame = encode_call(1, "gen.cancel", OnProcess(system.spawn().pid))
        keys = (
            system.keys.create("revoked", "developer"),
            system.keys.create("expired", "developer", expires_days=1e-9),
        )
        system.keys.revoke("revoked")
        figures, facts = [], []
        for name, endpoint in (("ipc", served.endpoint), ("tcp", served.tcp_endpoint)):
            before = _refusals(system)
            secrets = tuple((key.pair.public, key.pair.secret) for key in keys)
            orders = Orders(endpoint, keys[0].server, ATTACKERS, secrets)
            attacked, quiet = _rounds(load_key(served.key), endpoint, frame, orders, 2 if quick else 7)
            figures.append(compare(f"null calls, {name}", "1/s", attacked, "without attackers", quiet, "higher"))
            facts.append(Fact(f"refused handshakes, {name}", _refusals(system) - before))
    return Findings(tuple(figures), tuple(facts))


def _rounds(
    key: Key, endpoint: str, frame: bytes, orders: Orders, rounds: int
) -> tuple[Sequence[float], Sequence[float]]:
    """Calls a second with and without attackers, in turns."""
    attacked, quiet = [], []
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger, socket.rcvtimeo = 0, PATIENCE_MILLISECONDS
        socket.curve_publickey, socket.curve_secretkey = key.pair.public.encode(), key.pair.secret.encode()
        socket.curve_serverkey = key.server.encode()
        socket.connect(endpoint)
        _rate(socket, frame)
        for _ in range(rounds):
            quiet.append(_rate(socket, frame))
            with attack(orders):
                attacked.append(_rate(socket, frame))
    return attacked, quiet


def _rate(socket: zmq.Socket[bytes], frame: bytes) -> float:
    began, calls = time.perf_counter(), 0
    while (taken := time.perf_counter() - began) < ROUND_SECONDS:
        socket.send(frame)
        while socket.recv() == _PING:
            pass
        calls += 1
    return calls / taken


def _refusals(system: llmos.System) -> int:
    """How often the audit log says that a handshake was refused."""
    lines = system.audit.export(kinds=("refusal", "summary"))
    records = (msgspec.json.decode(line) for line in lines)
    return sum(record.get("count", 1) for record in records if record.get("outcome") == "refused")
