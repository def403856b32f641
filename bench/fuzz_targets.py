"""`python -m bench.fuzz_targets NAME COUNT`: give one part of llmos so many inputs, and print what came of it as JSON.

Inputs come from atheris, which looks for those that reach new code, or where it is not installed from mutations of good
inputs. An exception that is no error of the abi ends the run, and so does an input that takes longer than a second.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil
import zmq

from llmos.kernel.core.principal import Principal
from llmos.kernel.gate.recorder import Recorder
from llmos.kernel.gate.zap import DOMAIN, Authenticator
from llmos.kernel.security.audit.log import AuditLog
from llmos.kernel.security.identity.keyring import Keyring
from llmos.kernel.security.policy.cases import load_cases
from llmos.kernel.security.policy.decisions import SHIPPED_ROLES, Policy, Question
from llmos.kernel.security.policy.document import Source, parse
from llmos.syscalls.abi import messages as m
from llmos.syscalls.abi.errors import Error
from llmos.syscalls.wire import codec
from llmos.syscalls.wire.frames import CallFrame, EventFrame, OkFrame

HANG_SECONDS = 1.0
Target = Callable[[bytes], None]


class Outcome(msgspec.Struct, frozen=True):
    """What came of a run; memory is what the second half of it added, in bytes."""

    engine: str
    inputs: int
    seconds: float
    slowest: float
    grown: int


class _Meter:
    """Counts the inputs of a target, and prints the outcome after the last."""

    def __init__(self, target: Target, count: int, engine: str) -> None:
        self._target = target
        self._count = count
        self._engine = engine
        self._done = 0
        self._slowest = 0.0
        self._half = 0
        self._began = time.perf_counter()

    def __call__(self, data: bytes) -> None:
        began = time.perf_counter()
        self._target(data)
        taken = time.perf_counter() - began
        self._done += 1
        self._slowest = max(self._slowest, taken)
        if taken > HANG_SECONDS:
            raise TimeoutError(f"{taken:.1f} s for {data[:200]!r}")
        if self._done == self._count // 2:
            self._half = psutil.Process().memory_info().rss
        if self._done == self._count:
            self._end()

    def _end(self) -> None:
        grown = psutil.Process().memory_info().rss - self._half
        outcome = Outcome(self._engine, self._count, time.perf_counter() - self._began, self._slowest, grown)
        sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n")
        sys.stdout.flush()
        # Fuzzers end when they like; this one has had enough.
        os._exit(0)


def frames(data: bytes) -> None:
    """What clients send."""
    try:
        frame = codec.decode_request(data)
        if isinstance(frame, CallFrame):
            codec.decode_arguments(frame.call, frame.args)
    except Error:
        return


def replies(data: bytes) -> None:
    """What a daemon sends, should it lie."""
    try:
        frame = codec.decode_response(data)
        if isinstance(frame, OkFrame):
            codec.decode_record(m.SystemInfo, frame.ok)
        elif isinstance(frame, EventFrame):
            codec.decode_record(m.Chunk, frame.ev)
    except Error:
        return


def zap() -> Target:
    """Requests of handshakes, of any parts; none of them may be let in."""
    folder = Path(tempfile.mkdtemp(prefix="llmos-fuzz-"))
    loop = asyncio.new_event_loop()
    keyring, context = Keyring.open(folder / "keys"), zmq.Context[zmq.Socket[bytes]]()
    log = AuditLog.open(loop, folder / "audit", folder / "keys")
    authenticator = Authenticator(loop, context, keyring, Recorder(log))

    def target(data: bytes) -> None:
        answer = authenticator.answer([b"who", b"", *data.split(b"\xff")])
        assert answer is None or b"200" not in answer

    return target


def policy(data: bytes) -> None:
    """Files of rules."""
    try:
        made = Policy(parse([Source("own.csv", data.decode("utf-8", "replace"))]))
    except Error:
        return
    made.decide(Question(Principal("a", "b"), "default", "proc:/a/1", "proc.info"))


def cases(data: bytes) -> None:
    """Files of cases."""
    try:
        load_cases(data.decode("utf-8", "replace"))
    except Error:
        return


def _target(name: str) -> Target:
    made: dict[str, Target] = {"frames": frames, "replies": replies, "policy": policy, "cases": cases}
    return made[name] if name in made else zap()


def seeds(name: str) -> list[bytes]:
    """Good inputs."""
    match name:
        case "frames":
            calls = (
                ("proc.spawn", m.Spawn(name="x")),
                ("gen.generate", m.Generate(7)),
                ("ctx.append", m.Append(7, "y")),
            )
            return [codec.encode_call(3, call, request, 1.5) for call, request in calls] + [codec.encode_cancel(3)]
        case "replies":
            return [
                codec.encode_ok(1, m.Done()),
                codec.encode_event(1, m.Chunk("x", (1,))),
                codec.encode_ping("0" * 40),
            ]
        case "policy":
            return [line.encode() for line in SHIPPED_ROLES.read_text().splitlines() if line]
        case "cases":
            return [b"cases:\n  - {who: a, role: viewer, action: proc.info, object: proc:/a/1, expect: deny}\n"]
        case _:
            return [b"\xff".join([b"1.0", b"1", DOMAIN, b"127.0.0.1", b"", b"CURVE", bytes(32)])]


def main(name: str, count: int) -> None:
    """Run one target; does not return."""
    if importlib.util.find_spec("atheris") is not None:
        _guided(name, count)
    meter, source, good = _Meter(_target(name), count, "mutations"), random.Random(name), seeds(name)
    while True:
        meter(_mutated(source, source.choice(good)))


def _guided(name: str, count: int) -> None:
    import atheris

    atheris.instrument_all()
    folder = Path(tempfile.mkdtemp(prefix="llmos-fuzz-"))
    for number, seed in enumerate(seeds(name)):
        (folder / str(number)).write_bytes(seed)
    arguments = [
        sys.argv[0],
        f"-runs={2 * count}",
        "-verbosity=0",
        "-print_final_stats=0",
        "-max_len=4096",
        str(folder),
    ]
    atheris.Setup(arguments, _Meter(_target(name), count, "atheris"))
    atheris.Fuzz()


def _mutated(source: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(source.randrange(1, 6)):
        place = source.randrange(len(changed) + 1)
        match source.randrange(4):
            case 0:
                changed[place:place] = source.randbytes(source.randrange(1, 9))
            case 1:
                del changed[place : place + source.randrange(1, 9)]
            case 2:
                changed[place : place + 1] = source.randbytes(1)
            case _:
                changed[place:place] = changed[: source.randrange(len(changed) + 1)]
    return bytes(changed[:4096])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
