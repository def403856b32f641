"""What of llmos reads bytes of strangers, each as a function of one input, with good inputs to begin from.

It does not know where inputs come from. Rules: whatever the input is, the function returns, and what it did depends on
the input alone; any exception is a finding. What is the input's own fault, an error of the abi, is none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TypeVar

import zmq
from msgspec import Struct, inspect
from zmq.utils import z85

from llmos.kernel.core.authority import Authorized
from llmos.kernel.core.principal import SYSTEM, Principal
from llmos.kernel.gate.accounts import Account, Bounds
from llmos.kernel.gate.channel import Channel, Ending
from llmos.kernel.gate.clients import Client
from llmos.kernel.gate.desk import Desk
from llmos.kernel.gate.post import Post
from llmos.kernel.gate.recorder import Recorder
from llmos.kernel.gate.zap import DOMAIN, Authenticator
from llmos.kernel.security.audit.log import AuditLog
from llmos.kernel.security.identity.keyring import ADMIN, Keyring
from llmos.kernel.security.identity.registry import Identity
from llmos.kernel.security.membrane import Membrane
from llmos.kernel.security.names import FilePath
from llmos.kernel.security.objects import Owner
from llmos.kernel.security.policy.cases import load_cases, run_cases
from llmos.kernel.security.policy.decisions import SHIPPED_ROLES, Policy, Question
from llmos.kernel.security.policy.document import Source, parse, read_sources
from llmos.syscalls.abi import messages as m
from llmos.syscalls.abi.errors import Error
from llmos.syscalls.abi.table import CALLS, Call
from llmos.syscalls.abi.words import Pid, Record
from llmos.syscalls.wire import codec
from llmos.syscalls.wire.frames import CallFrame, EventFrame, OkFrame

R = TypeVar("R", bound=Struct)

_LOOP_EVERY = 256
"""Inputs between two turns of the loop, in which timers end and the audit log leaves for the disk."""

_OWN, _OTHERS = Pid(5), Pid(6)
_QUESTIONS = tuple(
    Question(Principal(name, role, home), tenant, object, action)
    for name, role, home in (("bob", "developer", "acme"), ("a" * 64, "admin", SYSTEM))
    for tenant, object, action in (
        ("acme", "proc:/bob/12", "proc.spawn"),
        (SYSTEM, "sys:/", "sys.info"),
        ("beta", f"key:/beta/{'a' * 64}", "sec.key_list"),
    )
)
_CASES = b"""principals:
  bob: {role: developer, tenant: acme}
cases:
  - {who: bob, action: proc.spawn, object: 'proc:/bob/*', attributes: class=batch context=9, expect: allow}
  - {who: {name: eve, role: app, kind: app}, action: ctx.read, object: proc:/bob/1, at: 2026-11-24 09:30, expect: deny}
"""


@dataclass(frozen=True, slots=True)
class Surface:
    """What takes an input, and good inputs."""

    take: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


def frames(folder: Path) -> Surface:
    """What clients send, through the codec, the membrane and the desk, to a kernel that answers every second call."""
    desk = _FramesAtDesk(folder)
    calls = [codec.encode_call(number, call.name, _least(call.request), 1.5) for number, call in enumerate(CALLS, 1)]
    waits = [codec.encode_call(id, "proc.wait", m.Wait(pid)) for id, pid in ((3, _OWN), (2, _OWN), (3, _OTHERS))]
    return Surface(desk.take, (*calls, *waits, codec.encode_cancel(1), codec.encode_credit(1, 7)))


def replies(_: Path) -> Surface:
    """What a daemon sends, should it lie; the first byte says what the client waits for."""
    kinds = list(dict.fromkeys(kind for call in CALLS for kind in (call.reply, call.event) if kind is not None))

    def take(data: bytes) -> None:
        with suppress(Error):
            frame = codec.decode_response(data[1:])
            kind = kinds[data[0] % len(kinds)] if data else kinds[0]
            if isinstance(frame, OkFrame | EventFrame):
                codec.decode_record(kind, frame.ok if isinstance(frame, OkFrame) else frame.ev)

    good = [bytes([number]) + codec.encode_ok(1, _least(kind)) for number, kind in enumerate(kinds)]
    good += [bytes([number]) + codec.encode_event(1, _least(kind)) for number, kind in enumerate(kinds)]
    good += [b"\0" + codec.encode_ping("0" * 40), b"\0" + codec.encode_error(1, Error("what", "how").failure())]
    return Surface(take, tuple(good))


def zap(folder: Path) -> Surface:
    """Requests of handshakes, of any parts, each behind its length; only the known key may be let in."""
    loop, keyring = asyncio.new_event_loop(), Keyring.open(folder / "keys")
    log = AuditLog.open(loop, folder / "audit", folder / "keys")
    authenticator = Authenticator(loop, zmq.Context(), keyring, Recorder(log))
    turn = _turns(loop)
    known = z85.decode(_identity(keyring).public)

    def take(data: bytes) -> None:
        # The input cannot guess the key that is known, so a part of one sign stands for it.
        parts = [known if part == b"k" else part for part in _parts(data)]
        answer = authenticator.answer([b"who", *parts])
        if answer is not None and answer[-4] != b"400" and (answer[-4] != b"200" or known not in parts):
            raise AssertionError(f"answered {answer}")
        next(turn)

    right = [b"", b"1.0", b"1", DOMAIN, b"127.0.0.1", b"", b"CURVE"]
    seeds = ([*right, b"k"], [*right, bytes(32)], right[1:], [*right[:-1], b"PLAIN", b"admin", b"secret"])
    return Surface(take, tuple(b"".join(bytes([len(part)]) + part for part in seed) for seed in seeds))


def policy(_: Path) -> Surface:
    """Files of rules: those that are refused, and the answers of those that are not."""

    def take(data: bytes) -> None:
        with suppress(Error):
            made = Policy(parse([Source("own.csv", data.decode("utf-8", "replace"))]))
            for question in _QUESTIONS:
                if made.decide(question).allowed is (made.decide(question).rule is None):
                    raise AssertionError(f"allowed by no rule, or denied by one that allows: {question}")

    rules = SHIPPED_ROLES.read_bytes()
    conditions = b"p, any, *, **, **, allow, class<=normal context<9 time=08:00-18:00 day=mon-fri model=a*|b kind!=app"
    many = b"p, role:admin, *, **a*a*a*a*a*a*a*b, **, deny\np, principal:bob, acme, proc:/$self/*, *, allow"
    return Surface(take, (rules, conditions, many, *(line for line in rules.splitlines() if line[:1] in b"pg")))


def cases(_: Path) -> Surface:
    """Files of cases: those that are refused, and the outcomes of those that are not."""
    shipped = Policy(parse(read_sources(SHIPPED_ROLES)))

    def take(data: bytes) -> None:
        with suppress(Error):
            run_cases(shipped, load_cases(data.decode("utf-8", "replace")))

    strange = b'cases: [{who: "\\u0041\\U00000042", role: ~, at: 08:30, by: 0x1f}, 1:30.5, &a [*a, !!int "1"], <<: {}]'
    return Surface(take, (_CASES, strange, b"cases: []"))


SURFACES: dict[str, Callable[[Path], Surface]] = {
    "frames": frames,
    "replies": replies,
    "zap": zap,
    "policy": policy,
    "cases": cases,
}
"""By name; the folder is for what they keep on the disk."""


class _FramesAtDesk:
    """A desk, and for every input a client of its own that has one call open."""

    def __init__(self, folder: Path) -> None:
        loop, keyring, numbers = asyncio.new_event_loop(), Keyring.open(folder / "keys"), count()
        recorder = Recorder(AuditLog.open(loop, folder / "audit", folder / "keys"))
        membrane = Membrane(Policy(parse(read_sources(SHIPPED_ROLES))), _Kernel(), keyring, lambda: f"{next(numbers)}")
        # Nobody is connected: what is sent is dropped, as for a client that has left.
        post = Post(loop, zmq.Context().socket(zmq.ROUTER), Bounds(), lambda: None, lambda _: None)
        self._desk = Desk(loop, membrane, recorder, _perform, post, Bounds(), lambda *_: None)
        self._identity = _identity(keyring)
        self._turn = _turns(loop)
        self._open = codec.encode_call(1, "proc.wait", m.Wait(_OWN))

    def take(self, data: bytes) -> None:
        """Handle one frame."""
        account = Account(self._identity, 1e9)
        client = Client(b"\0abcd", account, self._identity.public)
        self._desk.take(client, self._open, 0.0)
        self._desk.take(client, data, 0.0)
        with suppress(Error):
            frame = codec.decode_request(data)
            if isinstance(frame, CallFrame):
                codec.decode_arguments(frame.call, frame.args)
        self._desk.end_calls(client, Ending.GONE)
        if client.calls or account.calls:
            raise AssertionError(f"{account.calls} calls are left")
        next(self._turn)


class _Kernel:
    """Two processes: one of the caller's, one of another tenant's."""

    default_model = "small"
    default_encoder = "minilm"

    def owner_of(self, pid: Pid) -> Owner | None:
        return {_OWN: Owner(ADMIN, SYSTEM), _OTHERS: Owner("bob", "acme")}.get(pid)

    def mailbox_of(self, pid: Pid) -> Owner | None:
        return self.owner_of(pid)

    def file_of(self, descriptor: int) -> FilePath | None:
        return FilePath(ADMIN, ("file",)) if descriptor == _OWN else None


def _perform(_: Authorized, call: Call, request: Record, channel: Channel) -> None:
    if call.name != "proc.wait":
        channel.reply(m.Done())


def _identity(keyring: Keyring) -> Identity:
    (only,) = keyring.identities()
    return only


def _turns(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Let the loop run once every so many steps."""
    for number in count(1):
        if number % _LOOP_EVERY == 0:
            loop.call_soon(loop.stop)
            loop.run_forever()
        yield


def _parts(data: bytes) -> list[bytes]:
    parts = []
    while data:
        parts.append(data[1 : 1 + data[0]])
        data = data[1 + data[0] :]
    return parts


# --- the least record of a type


def _least(kind: type[R]) -> R:
    info = inspect.type_info(kind)
    if not isinstance(info, inspect.StructType):
        raise TypeError(f"{kind} is no record")
    return kind(**{field.name: _value(field.type) for field in info.fields if field.required})


def _value(info: inspect.Type) -> object:
    match info:
        case inspect.StructType(cls=cls):
            return _least(cls)
        case inspect.UnionType(types=types):
            return _value(types[0])
        case inspect.EnumType(cls=enum):
            return next(iter(enum))
        case inspect.BoolType():
            return True
        case inspect.IntType(ge=least) | inspect.FloatType(ge=least):
            return least or 1
        case inspect.StrType(min_length=length):
            return "x" * (length or 1)
        case inspect.VarTupleType(item_type=item):
            return (_value(item),)
        case inspect.TupleType(item_types=items):
            return tuple(_value(item) for item in items)
        case _:
            return None
