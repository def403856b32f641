"""A real gate in a thread of its own, over a trivial kernel, and a plain client to call it with.

The kernel answers `sys.info`; `sys.metrics` with a megabyte; `gen.generate` streams `max_tokens` chunks as
credit allows (and for ever with seed 1); `proc.wait` never answers; `proc.info` raises what is no fault of
the caller; `sys.drain` refuses; a `tool.call` fails when a `tool.register` ends.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import zmq

from llmos.kernel.core.authority import Authorized
from llmos.kernel.gate.accounts import Bounds
from llmos.kernel.gate.channel import Channel, Ending
from llmos.kernel.gate.recorder import Recorder
from llmos.kernel.gate.server import Gate
from llmos.kernel.security.audit.log import AuditLog
from llmos.kernel.security.identity.keyring import Keyring
from llmos.kernel.security.membrane import Membrane
from llmos.kernel.security.names import FilePath
from llmos.kernel.security.objects import Owner
from llmos.kernel.security.policy.store import PolicyStore
from llmos.syscalls.abi import messages as m
from llmos.syscalls.abi.errors import Busy, Error
from llmos.syscalls.abi.table import Call
from llmos.syscalls.abi.words import FinishReason, Pid, Record, Usage
from llmos.syscalls.wire.codec import decode_response, encode_call
from llmos.syscalls.wire.frames import ErrorFrame, EventFrame, OkFrame, PingFrame
from llmos.syscalls.wire.keys import Key, load_key

INFO = m.SystemInfo("1", 1, "", 1, 0.0, "", False, "fair", 0, ())
LARGE = m.Metrics((m.Metric("x", 1.0, "y" * (1 << 20)),))
PATIENCE = 10_000
ALICES, BOBS = 5, 6


@dataclass(slots=True)
class TrivialKernel:
    """Does what this module's docstring says, and counts how calls ended."""

    endings: list[Ending] = field(default_factory=list)
    callers: list[str] = field(default_factory=list)
    sent: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    default_model: str = "small"
    default_encoder: str = "minilm"
    performs: bool = True
    tool_calls: list[Channel] = field(default_factory=list)
    performed: list[Authorized] = field(default_factory=list)
    owners: dict[Pid, Owner] = field(
        default_factory=lambda: {Pid(ALICES): Owner("alice", "default"), Pid(BOBS): Owner("bob", "default")}
    )

    def owner_of(self, pid: Pid) -> Owner | None:
        return self.owners.get(pid)

    def mailbox_of(self, pid: Pid) -> Owner | None:
        return self.owner_of(pid)

    def file_of(self, descriptor: int) -> FilePath | None:
        owner = self.owners.get(Pid(descriptor))
        return FilePath(owner.name, ("file",)) if owner is not None else None

    def dispatch(self, authorized: Authorized, call: Call, request: Record, channel: Channel) -> None:
        self.callers.append(authorized.principal.name)
        self.performed.append(authorized)
        if not self.performs:
            channel.reply(m.Done())
            return
        match call.name:
            case "sys.info":
                channel.reply(INFO)
            case "sys.metrics":
                channel.reply(LARGE)
            case "sys.drain":
                raise Busy("not now", "later")
            case "proc.info":
                raise ZeroDivisionError("a bug")
            case "gen.generate" if isinstance(request, m.Generate):
                _Stream(self, request, channel).go_on()
            case "tool.register":
                channel.on_end(self.withdrawn)
            case "tool.call":
                self.tool_calls.append(channel)
            case _:
                channel.on_end(self.note)

    def withdrawn(self, ending: Ending) -> None:
        self.note(ending)
        for channel in self.tool_calls:
            channel.fail(Busy("the tool is gone", "later"))

    def note(self, ending: Ending) -> None:
        self.endings.append(ending)
        self.ended.set()


class _Stream:
    def __init__(self, kernel: TrivialKernel, request: m.Generate, channel: Channel) -> None:
        self.kernel = kernel
        self.channel = channel
        self.endless = request.sampling.seed == 1
        self.left = request.sampling.max_tokens
        channel.on_credit(self.go_on)
        channel.on_end(self.end)

    def go_on(self) -> None:
        while self.channel.ready and (self.left or self.endless):
            self.left -= 1
            self.kernel.sent += 1
            self.channel.event(m.Chunk("x" * 100, (1,)))
        if not self.left and not self.endless:
            self.finish(FinishReason.LENGTH)

    def end(self, ending: Ending) -> None:
        self.kernel.note(ending)
        if ending is Ending.CANCELLED:
            self.finish(FinishReason.CANCELLED)

    def finish(self, reason: FinishReason) -> None:
        self.channel.reply(m.Generated("", (), reason, Usage(0, 0, 0, 0.0, 0.0)))


@dataclass(slots=True)
class House:
    """A running gate."""

    kernel: TrivialKernel
    gate: Gate
    loop: asyncio.AbstractEventLoop
    keyring: Keyring
    membrane: Membrane
    log: AuditLog
    folder: Path
    endpoint: str
    bugs: list[str]

    def key(self, name: str, role: str = "developer", tenant: str = "default", expires: float | None = None) -> Key:
        path = self.keyring.create(name, role, self.folder / f"{name}.key", tenant, expires=expires)
        return load_key(path)

    def in_loop(self, what: str) -> int:
        """A count of the gate's, asked in its own thread."""

        async def look() -> int:
            return self.gate.calls if what == "calls" else len(asyncio.all_tasks()) - 1

        return asyncio.run_coroutine_threadsafe(look(), self.loop).result(10)


class Client:
    """A plain client: frames out, frames in; pings are counted and dropped."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, key: Key, hwm: int = 1000) -> None:
        self.socket = context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.rcvhwm = hwm
        self.socket.curve_publickey = key.pair.public.encode()
        self.socket.curve_secretkey = key.pair.secret.encode()
        self.socket.curve_serverkey = key.server.encode()
        self.socket.connect(endpoint)
        self.pings = 0

    def call(self, id: int, name: str, request: Record | None = None, timeout: float | None = None) -> None:
        self.socket.send(encode_call(id, name, request or m.Nothing(), timeout))

    def read(self, patience: int = PATIENCE) -> OkFrame | ErrorFrame | EventFrame:
        """The next frame that is no ping."""
        while self.socket.poll(patience):
            frame = decode_response(self.socket.recv())
            if not isinstance(frame, PingFrame):
                return frame
            self.pings += 1
        raise TimeoutError("nothing came")

    def wait_for_ping(self) -> None:
        assert self.socket.poll(PATIENCE)
        assert isinstance(decode_response(self.socket.recv()), PingFrame)

    def silent(self, milliseconds: int = 100) -> bool:
        return not self.socket.poll(milliseconds)


@contextmanager
def gate_house(folder: Path, bounds: Bounds | None = None, performs: bool = True) -> Iterator[House]:
    """A gate that serves `folder/kernel.sock`; after it no task and no socket file may be left."""
    loop = asyncio.new_event_loop()
    house = _open(loop, folder, bounds)
    house.kernel.performs = performs
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield house
    finally:
        loop.call_soon_threadsafe(house.gate.close)
        loop.call_soon_threadsafe(house.log.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        tasks = asyncio.all_tasks(loop)
        loop.close()
    assert not thread.is_alive()
    assert not tasks
    assert not (folder / "kernel.sock").exists()


def _open(loop: asyncio.AbstractEventLoop, folder: Path, bounds: Bounds | None) -> House:
    kernel, keyring, bugs = TrivialKernel(), Keyring.open(folder / "keys"), list[str]()

    def bug(_: asyncio.AbstractEventLoop, context: Mapping[str, object]) -> None:
        bugs.append(str(context.get("exception")))

    loop.set_exception_handler(bug)
    log = AuditLog.open(loop, folder / "audit", folder / "keys")
    ids = (f"{number:012x}" for number in count())
    membrane = Membrane(PolicyStore(folder / "policy").load(), kernel, keyring, lambda: next(ids))
    gate = Gate(loop, keyring, membrane, Recorder(log), kernel.dispatch, bounds)
    try:
        (endpoint,) = gate.open([f"ipc://{folder}/kernel.sock"])
    except Error:
        gate.close()
        log.close()
        loop.close()
        raise
    return House(kernel, gate, loop, keyring, membrane, log, folder, endpoint, bugs)


def descriptors() -> int:
    """Open file descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))
