"""A working client's null-call rate while a hundred clients that must not get in try at full speed, and without them.

The attackers have unknown, revoked and expired keys and no key at all, in equal parts; none of them waits for its
refusal longer than a moment before it comes anew. What they cost the daemon is told from what they cost the machine
by the peer: the same attackers at work on a bare server with CURVE that has only idle time, as if both were
elsewhere. Rounds take turns.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import zmq

import llmos
from bench.attackers import Attack, attack
from bench.bare import Echo, Orders, bare_server
from bench.daemon import daemon
from bench.report import Fact, Findings, compare
from llmos.syscalls.abi.messages import OnProcess
from llmos.syscalls.wire.codec import encode_call, encode_ping
from llmos.syscalls.wire.keys import Key, load_key, new_keypair

ATTACKERS = 100
ROUND_SECONDS = 2.0
PATIENCE_MILLISECONDS = 10_000
_PING = encode_ping()


def run(quick: bool) -> Findings:
    """Rounds over the socket file and over TCP."""
    with ExitStack() as stack:
        served = stack.enter_context(daemon(listen=True, device_pages=8, host_memory="64MiB"))
        system = stack.enter_context(served.connect())
        frame = encode_call(1, "gen.cancel", OnProcess(system.spawn().pid))
        keys = (
            system.keys.create("revoked", "developer"),
            system.keys.create("expired", "developer", expires_days=1e-9),
        )
        system.keys.revoke("revoked")
        secrets = tuple((key.pair.public, key.pair.secret) for key in keys)
        decoy, folder = new_keypair(), stack.enter_context(TemporaryDirectory(prefix="llmos-"))
        elsewhere = f"ipc://{folder}/decoy"
        _as_if_elsewhere(stack.enter_context(bare_server(Orders(elsewhere, Echo(b""), decoy.secret))))
        figures, facts = [], []
        for name, endpoint in (("ipc", served.endpoint), ("tcp", served.tcp_endpoint)):
            before = _refusals(system)
            here = Attack(endpoint, keys[0].server, ATTACKERS, secrets)
            there = Attack(elsewhere, decoy.public, ATTACKERS, secrets)
            rates = _rounds(load_key(served.key), endpoint, frame, (here, there), 3 if quick else 9)
            figures += [
                compare(f"null calls, {name}", "1/s", rates[0], "attackers elsewhere", rates[1], "higher"),
                compare(f"null calls, {name}, ", "1/s", rates[0], "no attackers at all", rates[2], "higher"),
            ]
            facts.append(Fact(f"refused handshakes, {name}", _refusals(system) - before))
    return Findings(tuple(figures), tuple(facts))


def _as_if_elsewhere(os_pid: int) -> None:
    """Let a process have only the processor time that nobody else wants."""
    for task in Path(f"/proc/{os_pid}/task").iterdir():
        os.sched_setscheduler(int(task.name), os.SCHED_IDLE, os.sched_param(0))


def _rounds(key: Key, endpoint: str, frame: bytes, attacks: Sequence[Attack], rounds: int) -> tuple[list[float], ...]:
    """Calls a second under each attack, and under none, in turns."""
    rates: tuple[list[float], ...] = tuple([] for _ in (*attacks, None))
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger, socket.rcvtimeo = 0, PATIENCE_MILLISECONDS
        socket.curve_publickey, socket.curve_secretkey = key.pair.public.encode(), key.pair.secret.encode()
        socket.curve_serverkey = key.server.encode()
        socket.connect(endpoint)
        _rate(socket, frame)
        for _ in range(rounds):
            for one, measured in zip(attacks, rates, strict=False):
                with attack(one):
                    measured.append(_rate(socket, frame))
            rates[-1].append(_rate(socket, frame))
    return rates


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
