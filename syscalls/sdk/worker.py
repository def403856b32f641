"""The IO thread of a connection: a ZeroMQ DEALER with CURVE, its monitor, and the protocol between them.

It does not know what calls mean or who waits for them: deliveries go to the inbox that came with the call.
Rules: everything below `run` happens in this one thread; other threads only `post` commands, which never
blocks (finalizers do so too). Frames leave only over a link that is up, so that a call that failed is never
performed later. Whatever ends the thread, every open call gets its last event, and sockets and context are
closed by the time it is over.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from typing import Protocol, assert_never

import zmq

from llmos.syscalls.abi.errors import DeviceError, Error, InvalidArgument, MessageTooLong, ProtocolError
from llmos.syscalls.sdk.link import NOBODY_SECONDS, Link, LinkState, Report
from llmos.syscalls.sdk.protocol import ClientProtocol, Delivery, Event, Failed, Happened
from llmos.syscalls.wire.frames import MAX_REPLY
from llmos.syscalls.wire.keys import Key, PublicKey

_RECONNECT_MS = 50
_RECONNECT_MAX_MS = 400
_HEARTBEAT_MS = 1_000
_HEARTBEAT_TIMEOUT_MS = 10_000
_RECEIVE_BATCH = 256
"""After so many messages in a row, others get their turn."""

_REPORTS = {
    zmq.EVENT_CONNECTED: Report.CONNECTED,
    zmq.EVENT_HANDSHAKE_SUCCEEDED: Report.ACCEPTED,
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: Report.KEY_REFUSED,
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: Report.NO_CURVE,
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: Report.HANDSHAKE_BROKEN,
    zmq.EVENT_DISCONNECTED: Report.DISCONNECTED,
}
_MONITOR_EVENT = struct.Struct("=HI")


class Inbox(Protocol):
    """Where the events of one call go. The IO thread calls `put`, which must not block or raise."""

    def put(self, event: Event) -> None:
        """Take one event."""
        ...


@dataclass(frozen=True, slots=True)
class Start:
    """Send a call; `patience` in seconds is how long its last event may take."""

    id: int
    frame: bytes
    inbox: Inbox
    patience: float | None


@dataclass(frozen=True, slots=True)
class Cancel:
    """Ask the kernel to stop a call."""

    id: int


@dataclass(frozen=True, slots=True)
class Abandon:
    """Cancel a call and drop what it still delivers."""

    id: int


@dataclass(frozen=True, slots=True)
class Credit:
    """Allow a stream more events."""

    id: int
    credit: int


@dataclass(frozen=True, slots=True)
class Stop:
    """End the thread."""


Command = Start | Cancel | Abandon | Credit | Stop


class Mailbox:
    """Commands from any thread to the IO thread, which polls `fileno`."""

    def __init__(self) -> None:
        self._commands: deque[Command] = deque()
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._signalled = False

    def fileno(self) -> int:
        """Readable when there may be commands."""
        return self._reader.fileno()

    def post(self, command: Command) -> None:
        """Queue a command. Takes no lock, because the garbage collector may call it anywhere."""
        self._commands.append(command)
        if not self._signalled:
            self._signalled = True
            # Full means that the reader will wake anyway; closed, that nobody is left to wake.
            with suppress(OSError):
                self._writer.send(b"!")

    def take(self) -> Command | None:
        """The oldest command, if any."""
        return self._commands.popleft() if self._commands else None

    def quiet(self) -> None:
        """Clear the signal; must come before the commands are taken, or one could be missed."""
        with suppress(BlockingIOError):
            self._reader.recv(4096)
        self._signalled = False

    def close(self) -> None:
        """Release both ends."""
        self._reader.close()
        self._writer.close()


class Worker:
    """The thread of one connection. `on_ready` is called once: None when the link is up, else why not.

    `on_key` is called in this thread with the key as it is from now on, when the daemon's own key changes.
    """

    def __init__(
        self,
        endpoint: str,
        key: Key,
        on_ready: Callable[[Error | None], None],
        on_key: Callable[[Key], None] = lambda key: None,
    ) -> None:
        self._endpoint = endpoint
        self._key = key
        self._on_key = on_key
        self._on_ready: Callable[[Error | None], None] | None = on_ready
        self._mailbox = Mailbox()
        self._protocol = ClientProtocol()
        self._inboxes: dict[int, Inbox] = {}
        self._monitors = count()
        self._stopping: Error | None = None
        self._gate = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"llmos {endpoint}", daemon=True)

    # --- any thread

    def launch(self) -> None:
        """Start the thread."""
        self._thread.start()

    def start(self, command: Start) -> None:
        """Send a call. Raises why, when the connection has ended."""
        with self._gate:  # against the end of the thread, after which nobody would answer
            if self._stopping is not None:
                raise self._stopping
            self._mailbox.post(command)

    def post(self, command: Cancel | Abandon | Credit | Stop) -> None:
        """Queue a command that has no answer; without effect when the thread has ended."""
        self._mailbox.post(command)

    def join(self) -> None:
        """Wait for the end of the thread, its sockets and its context."""
        if threading.current_thread() is not self._thread:
            self._thread.join()

    # --- the IO thread

    def _run(self) -> None:
        with zmq.Context() as context:
            try:
                while self._stopping is None:
                    self._serve_one_socket(context)
            finally:
                self._finish()

    def _serve_one_socket(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        """Serve until the socket is of no use. A new one starts clean: nothing old can be sent over it."""
        with context.socket(zmq.DEALER) as dealer, context.socket(zmq.PAIR) as monitor:
            link = Link(self._endpoint, self._key.name, time.monotonic() + NOBODY_SECONDS)
            try:
                self._open(dealer, monitor)
            except zmq.ZMQError as error:
                self._end(InvalidArgument(f"{self._endpoint} is no endpoint: {error.strerror}"))
                return
            poller = zmq.Poller()
            for readable in (dealer, monitor, self._mailbox.fileno()):
                poller.register(readable, zmq.POLLIN)
            while self._stopping is None and link.state is not LinkState.LOST:
                ready = {source for source, _ in poller.poll(self._pause(link))}
                if self._mailbox.fileno() in ready:
                    self._perform_commands(link)
                if dealer in ready:
                    self._receive(dealer)
                if monitor in ready:
                    self._observe(monitor, link)
                self._turn(dealer, link)
            dealer.monitor(None, 0)

    def _open(self, dealer: zmq.Socket[bytes], monitor: zmq.Socket[bytes]) -> None:
        dealer.linger = monitor.linger = 0
        dealer.curve_serverkey = self._key.server.encode()
        dealer.curve_publickey = self._key.pair.public.encode()
        dealer.curve_secretkey = self._key.pair.secret.encode()
        dealer.set(zmq.MAXMSGSIZE, MAX_REPLY)
        dealer.set(zmq.SNDHWM, 0)  # calls wait for their replies: their number bounds what is queued
        dealer.set(zmq.RECONNECT_IVL, _RECONNECT_MS)
        dealer.set(zmq.RECONNECT_IVL_MAX, _RECONNECT_MAX_MS)
        dealer.set(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
        dealer.set(zmq.HEARTBEAT_TIMEOUT, _HEARTBEAT_TIMEOUT_MS)
        # A new name every time: the one of a socket that was just closed may still be taken.
        address = f"inproc://monitor-{next(self._monitors)}"
        events = 0
        for event in _REPORTS:
            events |= event
        dealer.monitor(address, events)
        monitor.connect(address)
        dealer.connect(self._endpoint)

    def _turn(self, dealer: zmq.Socket[bytes], link: Link) -> None:
        now = time.monotonic()
        self._deliver(self._protocol.expire(now))
        match link.state:
            case LinkState.UP:
                self._ready(None)
                while self._protocol.outgoing:
                    dealer.send(self._protocol.outgoing.popleft(), zmq.NOBLOCK)
            case LinkState.LOST:
                self._receive(dealer)  # what arrived before the end still counts
                self._lose(DeviceError(f"the daemon at {self._endpoint} went away", "llmosctl up"))
            case LinkState.REFUSED if link.wrong_server and self._key.next_server is not None:
                # The rotation of which the daemon told us is over.
                self._take_key(replace(self._key, server=self._key.next_server, next_server=None))
                link.state = LinkState.LOST
            case LinkState.REFUSED:
                self._end(link.refusal or link.absence())
            case LinkState.SEEKING | LinkState.GREETING:
                self._wait_for_daemon(link, now)
            case unreachable:
                assert_never(unreachable)

    def _pause(self, link: Link) -> int | None:
        """How long to poll, in milliseconds."""
        times = [self._protocol.next_deadline()]
        if link.state is not LinkState.UP and self._somebody_waits():
            times.append(link.give_up_at)
        known = [moment for moment in times if moment is not None]
        return max(0, int((min(known) - time.monotonic()) * 1000) + 1) if known else None

    def _somebody_waits(self) -> bool:
        return self._on_ready is not None or self._protocol.open_calls > 0

    def _wait_for_daemon(self, link: Link, now: float) -> None:
        if now < link.give_up_at or not self._somebody_waits():
            return
        if self._on_ready is not None:
            self._end(link.absence())
        else:
            self._lose(link.absence())

    def _perform_commands(self, link: Link) -> None:
        self._mailbox.quiet()
        while (command := self._mailbox.take()) is not None:
            match command:
                case Start() as call:
                    self._start(call, link)
                case Cancel(id):
                    self._protocol.cancel(id)
                case Abandon(id):
                    self._protocol.abandon(id)
                    self._inboxes.pop(id, None)
                case Credit(id, credit):
                    self._protocol.credit(id, credit)
                case Stop():
                    self._end(DeviceError("the connection is closed"))
                case unreachable:
                    assert_never(unreachable)

    def _start(self, call: Start, link: Link) -> None:
        now = time.monotonic()
        if link.state is not LinkState.UP and not self._somebody_waits():
            link.wait_again(now)
        self._inboxes[call.id] = call.inbox
        self._protocol.start(call.id, call.frame, None if call.patience is None else now + call.patience)

    def _receive(self, dealer: zmq.Socket[bytes]) -> None:
        for _ in range(_RECEIVE_BATCH):
            try:
                parts = dealer.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                deliveries = self._protocol.receive(parts[-1])
            except (ProtocolError, MessageTooLong) as error:
                self._end(error)
                continue
            self._learn_key()
            self._deliver(deliveries)

    def _learn_key(self) -> None:
        """Keep the daemon's next key before anything that came after it is given to anybody."""
        following = self._protocol.next_server
        if following is not None and following not in (self._key.server, self._key.next_server):
            self._take_key(replace(self._key, next_server=PublicKey(following)))

    def _take_key(self, key: Key) -> None:
        self._key = key
        self._on_key(key)

    def _observe(self, monitor: zmq.Socket[bytes], link: Link) -> None:
        while link.state is not LinkState.LOST:
            try:
                parts = monitor.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            report = _REPORTS.get(_MONITOR_EVENT.unpack(parts[0])[0])
            if report is not None:
                link.observe(report, time.monotonic())

    def _deliver(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            more = isinstance(delivery.event, Happened)
            inbox = self._inboxes.get(delivery.id) if more else self._inboxes.pop(delivery.id, None)
            if inbox is not None:
                inbox.put(delivery.event)

    def _ready(self, error: Error | None) -> None:
        if self._on_ready is not None:
            self._on_ready(error)
            self._on_ready = None

    def _lose(self, error: Error) -> None:
        self._deliver(self._protocol.lose(error))

    def _end(self, reason: Error) -> None:
        if self._stopping is None:
            self._stopping = reason

    def _finish(self) -> None:
        """Answer everybody; after this no call can be started."""
        reason = self._stopping or DeviceError("the connection's thread failed")
        with self._gate:
            self._stopping = reason
        self._lose(reason)
        while (command := self._mailbox.take()) is not None:
            if isinstance(command, Start):
                command.inbox.put(Failed(reason))
        self._ready(reason)
        self._mailbox.close()
