"""A small kernel's end of the wire for tests: a real ROUTER with CURVE and ZAP, and canned answers.

It counts what the protocol promises: how many events were ever under way, what credit and which cancels came. What it
does is chosen by the arguments of a call:

- `sys.info`, `proc.info`, ...: a fixed reply;  `proc.spawn` with name "refuse": EAGAIN;  `proc.wait`: never answers
- `gen.generate`: `max_tokens` events under the stream's credit, then the reply; with seed 7 it waits for a cancel after
  the third event, with seed 9 it fails after the third
- `mem.history`: page after page of an item with `VERSIONS`
- `sys.drain`: breaks the protocol;  `sys.shutdown`: answers and closes
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import assert_never

import zmq
from zmq.utils import z85

from llmos.syscalls.abi import memory as mem
from llmos.syscalls.abi import messages as m
from llmos.syscalls.abi.errors import Cancelled, DeviceError, Error, NotSupported, TryAgain
from llmos.syscalls.abi.tools import ToolList, Tools
from llmos.syscalls.abi.words import FinishReason, Record, Usage
from llmos.syscalls.wire.codec import (
    decode_arguments,
    decode_request,
    encode_error,
    encode_event,
    encode_ok,
    encode_ping,
)
from llmos.syscalls.wire.frames import BadFrame, CallFrame, CancelFrame, CreditFrame
from llmos.syscalls.wire.keys import Key, KeyPair, new_keypair, save_key

PROMPT_TOKENS = 5
VERSIONS = 2500


@dataclass(slots=True, eq=False)
class Stream:
    """One generation that is being sent."""

    client: bytes
    id: int
    request: m.Generate
    credit: int
    sent: int = 0
    cancelled: bool = False


@dataclass(slots=True, eq=False)
class EchoKernel:
    """The kernel's end; `endpoint` and `key_file` are what a client needs. Read the counters after `stop`."""

    folder: Path
    endpoint: str
    server: KeyPair = field(default_factory=new_keypair)
    requests: list[Record] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)
    credited: list[int] = field(default_factory=list)
    most_unanswered_events: int = 0
    _known: set[str] = field(default_factory=set)
    _streams: dict[tuple[bytes, int], Stream] = field(default_factory=dict)
    _thread: threading.Thread | None = None
    _wake: tuple[socket.socket, socket.socket] | None = None
    _cancel_seen: threading.Event = field(default_factory=threading.Event)

    # --- the test's thread

    def new_key_file(self, name: str, known: bool = True) -> Path:
        """Make a key; an unknown one is refused by ZAP."""
        pair = new_keypair()
        if known:
            self._known.add(pair.public)
        path = self.folder / f"{name}.key"
        save_key(path, Key(name, pair, self.server.public))
        return path

    def start(self) -> None:
        """Listen; returns when the socket is bound."""
        self._wake = socket.socketpair()
        bound = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(bound, self._wake[1]), name="echo kernel")
        self._thread.start()
        assert bound.wait(10)

    def stop(self) -> None:
        """Close the socket at once, whatever is open, as a kernel that dies does. May be called twice."""
        if self._thread is not None and self._wake is not None:
            self._wake[0].close()
            self._thread.join()
            self._wake[1].close()
            self._thread = None

    def wait_for_cancel(self) -> bool:
        """Wait until a client has cancelled something; False if that does not happen."""
        return self._cancel_seen.wait(10)

    # --- the kernel's thread

    def _run(self, bound: threading.Event, wake: socket.socket) -> None:
        with zmq.Context() as context, context.socket(zmq.REP) as zap, context.socket(zmq.ROUTER) as router:
            zap.linger = router.linger = 0
            zap.bind("inproc://zeromq.zap.01")
            router.curve_server = True
            router.curve_secretkey = self.server.secret.encode()
            router.curve_publickey = self.server.public.encode()
            router.zap_domain = b"llmos"
            router.sndhwm = 0  # a ROUTER drops what is over it; credit bounds what is queued
            router.bind(self.endpoint)
            bound.set()
            poller = zmq.Poller()
            for readable in (zap, router, wake):
                poller.register(readable, zmq.POLLIN)
            open_ = True
            while open_:
                ready = dict(poller.poll())
                if wake.fileno() in ready:
                    return
                if zap in ready:
                    self._authenticate(zap)
                if router in ready:
                    open_ = self._serve(router, *router.recv_multipart())

    def _authenticate(self, zap: zmq.Socket[bytes]) -> None:
        _version, request_id, _domain, _address, _identity, _mechanism, public = zap.recv_multipart()
        known = z85.encode(public).decode() in self._known
        status = (b"200", b"OK") if known else (b"400", b"unknown key")
        zap.send_multipart([b"1.0", request_id, *status, b"user", b""])

    def _serve(self, router: zmq.Socket[bytes], client: bytes, data: bytes) -> bool:
        try:
            frame = decode_request(data)
        except BadFrame as error:
            router.send_multipart([client, encode_error(error.id, error.failure())])
            return True
        match frame:
            case CallFrame():
                return self._perform(router, client, frame)
            case CancelFrame(id):
                self._cancel(router, client, id)
            case CreditFrame(id, credit):
                self.credited.append(credit)
                if (client, id) in self._streams:
                    self._streams[client, id].credit += credit
                    self._advance(router, self._streams[client, id])
            case unreachable:
                assert_never(unreachable)
        return True

    def _perform(self, router: zmq.Socket[bytes], client: bytes, frame: CallFrame) -> bool:
        try:
            request = decode_arguments(frame.call, frame.args)
            self.requests.append(request)
            reply = self._answer(frame.call, request)
        except Error as error:
            router.send_multipart([client, encode_error(frame.id, error.failure())])
            return True
        if isinstance(request, m.Generate):
            stream = self._streams[client, frame.id] = Stream(client, frame.id, request, request.window)
            self._advance(router, stream)
        elif frame.call == "sys.drain":
            router.send_multipart([client, b"\xc1 no MessagePack"])
        elif reply is not None:
            router.send_multipart([client, encode_ping()])
            router.send_multipart([client, encode_ok(frame.id, reply)])
        if frame.call == "sys.shutdown":
            router.linger = 1000
        return frame.call != "sys.shutdown"

    def _answer(self, call: str, request: Record) -> Record | None:
        match request:
            case m.Spawn(name="refuse"):
                raise TryAgain("no room for another process", "try again in 3 s")
            case m.Spawn():
                return m.Spawned(7, request.model or "smollm2:135m")
            case m.Fork():
                return m.Forked(tuple(range(8, 8 + request.count)))
            case m.Append():
                added = len(request.tokens or request.text or request.messages or ())
                return m.Appended(added, PROMPT_TOKENS + added)
            case m.Truncate() | m.Rewind():
                return m.Appended(0, PROMPT_TOKENS)
            case m.SwapOut():
                return m.Swapped(4)
            case m.SendSignal() | m.Advise():
                return m.Done()
            case m.ListProcesses():
                return m.Processes(())
            case ToolList():
                return Tools(())
            case mem.MemoryPut(text=text, metadata=metadata):
                return mem.MemoryRecord("1", "alice/default", 1, text, metadata, "alice", mem.Trust.USER, 0.0, 0.0)
            case mem.MemorySearch():
                return mem.MemoryRecords(())
            case mem.MemoryHistory(id=id, limit=limit, after=after):
                return versions(id, limit, after or VERSIONS + 1)
            case mem.MemoryForget():
                return mem.Forgotten(1, 1)
            case m.Nothing() if call == "sys.shutdown":
                return m.Done()
            case m.Nothing():
                return m.Metrics((m.Metric("steps", 3.0, "steps that ran"),))
            case m.OnProcess() if call == "ctx.read":
                return m.Context((1, 2, 3), "one two three")
            case m.Generate() | m.Drain() | m.Wait():
                return None
            case _:
                raise NotSupported(f"the echo kernel has no answer to {call}")

    def _cancel(self, router: zmq.Socket[bytes], client: bytes, id: int) -> None:
        self.cancelled.append(id)
        stream = self._streams.get((client, id))
        if stream is None:
            router.send_multipart([client, encode_error(id, Cancelled("cancelled").failure())])
        else:
            stream.cancelled = True
            self._advance(router, stream)
        self._cancel_seen.set()

    def _advance(self, router: zmq.Socket[bytes], stream: Stream) -> None:
        """Send what the credit allows, and the end when it is reached."""
        wanted, seed = stream.request.sampling.max_tokens, stream.request.sampling.seed
        limit = min(wanted, 3) if seed in (7, 9) else wanted
        while stream.credit > 0 and stream.sent < limit and not stream.cancelled:
            stream.sent += 1
            stream.credit -= 1
            chunk = m.Chunk(f"{stream.sent} ", (stream.sent,))
            router.send_multipart([stream.client, encode_event(stream.id, chunk)])
        unanswered = stream.sent - sum(self.credited)
        self.most_unanswered_events = max(self.most_unanswered_events, unanswered)
        silent = stream.request.window == 0
        if seed == 9 and stream.sent == limit:
            error = encode_error(stream.id, DeviceError("the engine is broken").failure())
            self._finish(router, stream, error)
        elif stream.cancelled or silent or (seed != 7 and stream.sent == wanted):
            reason = FinishReason.CANCELLED if stream.cancelled else FinishReason.LENGTH
            tokens = tuple(range(1, (wanted if silent else stream.sent) + 1))
            usage = Usage(PROMPT_TOKENS, 0, len(tokens), 0.01, 0.02)
            reply = m.Generated("".join(f"{token} " for token in tokens), tokens, reason, usage)
            self._finish(router, stream, encode_ok(stream.id, reply))

    def _finish(self, router: zmq.Socket[bytes], stream: Stream, last: bytes) -> None:
        del self._streams[stream.client, stream.id]
        router.send_multipart([stream.client, last])


def versions(id: str, limit: int, after: int) -> mem.MemoryVersions:
    """A page of a history."""
    numbers = range(after - 1, max(after - 1 - limit, 0), -1)
    records = (mem.MemoryRecord(id, "notes", n, "", {}, "alice", mem.Trust.USER, 0.0, 0.0) for n in numbers)
    return mem.MemoryVersions(tuple(records), numbers[-1] if numbers and numbers[-1] > 1 else None)


@contextmanager
def echo_kernel(folder: Path, endpoint: str | None = None) -> Iterator[EchoKernel]:
    """A running echo kernel; `folder` is for its socket and its key files."""
    kernel = EchoKernel(folder, endpoint or f"ipc://{folder}/k.sock")
    kernel.start()
    try:
        yield kernel
    finally:
        kernel.stop()
