"""The gate: the one ROUTER socket through which every call comes in and every answer leaves.

It does not know what calls mean or how they are authorised (the desk does), or what processes are.
Rules:

- Who calls is the authenticated key of the connection; whether it is still valid is asked for every frame. Routing ids
  that clients choose themselves are refused: whoever took over such an id would get the answers meant for its former
  holder.
- Whatever a client sends costs at most that client and the others of its key something: an error, a strike, calls.
- A key that is revoked or has expired loses its calls and its connections; an open call that a new policy forbids ends.
- The socket's descriptor is edge-triggered: after a send outside of `_drain` the socket is looked at again.
- A send that fails marks the client, and its calls end in a callback of their own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import zmq

from llmos.kernel.gate.accounts import Account, Bounds
from llmos.kernel.gate.channel import Ending
from llmos.kernel.gate.clients import Client, Standing, Wire
from llmos.kernel.gate.desk import Desk, Dispatch
from llmos.kernel.gate.listeners import Listeners
from llmos.kernel.gate.post import Post
from llmos.kernel.gate.recorder import Recorder
from llmos.kernel.gate.zap import DOMAIN, Authenticator
from llmos.kernel.security.audit.record import Kind
from llmos.kernel.security.identity.keyring import Keyring
from llmos.kernel.security.identity.registry import Identity
from llmos.kernel.security.membrane import Membrane
from llmos.syscalls.abi.errors import (
    DeviceError,
    Error,
    PermissionDenied,
    ProtocolError,
    TryAgain,
)
from llmos.syscalls.wire import codec
from llmos.syscalls.wire.frames import MAX_FRAME, NO_CALL, BadFrame

_NOBLOCK = int(zmq.NOBLOCK)

_IO_THREADS = max(1, min(4, (os.cpu_count() or 1) // 2))
"""Handshakes of strangers are spread over them; where processors are few, more threads cost more than they give."""

_AT_ONCE, _TOGETHER = 64, 16
"""Frames handled before others in the loop get their turn, and before answers leave."""

_COPIED = 1 << 14
"""Bytes of a frame that are rather copied than kept with all that belongs to it."""

_FLUSH_MILLISECONDS = 300
"""How long closing waits for last answers to leave."""

_log = logging.getLogger("llmos.gate")

_AGAIN_SECONDS = 1.0
"""After so long a key that the disk did not take is tried again."""

_CUT_SECONDS = 0.05
"""How long a last message to a client has to leave before its connection is cut."""


class Gate:
    """Serves calls on its endpoints between `open` and `close`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        keyring: Keyring,
        membrane: Membrane,
        recorder: Recorder,
        dispatch: Dispatch,
        bounds: Bounds | None = None,
    ) -> None:
        self._loop = loop
        self._keyring = keyring
        self._recorder = recorder
        self._bounds = bounds or Bounds()
        self._clients: dict[bytes, Client] = {}
        self._accounts: dict[str, Account] = {}
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(_IO_THREADS)
        self._authenticator = Authenticator(loop, self._context, keyring, recorder)
        self._socket = self._context.socket(zmq.ROUTER)
        self._configure()
        self._descriptor = self._socket.fileno()
        self._post = Post(loop, self._socket, self._bounds, self._schedule, self._lose)
        self._desk = Desk(loop, membrane, recorder, dispatch, self._post, self._bounds, self._strike)
        self._draining = self._scheduled = self._again = self._closed = False
        self._now = loop.time()
        self._ping = codec.encode_ping()
        self._listeners = Listeners(loop, self._socket)
        self.on_server_key: Callable[[], None] = lambda: None
        """Told when another server key is served."""
        self._tick: asyncio.TimerHandle | None = None
        self._switching: asyncio.TimerHandle | None = None

    def open(self, endpoints: Sequence[str]) -> tuple[str, ...]:
        """Listen on all of them; how clients name them. Raises `InvalidArgument` or `Busy`; close it then, too."""
        bound = tuple(map(self._listeners.open, endpoints))
        self._loop.add_reader(self._descriptor, self._drain)
        self._tick = self._loop.call_later(self._bounds.ping_seconds, self._look_after)
        self._schedule()
        self.announce_server_key()
        return bound

    def listen(self, path: Path, user: int) -> None:
        """Listen on one more socket file, which belongs to this user of the host. Raises `InvalidArgument`, `Busy`."""
        self._listeners.open_for(path, user)
        self._schedule()

    def ignore(self, path: Path) -> None:
        """Listen there no more; connections that came that way go on."""
        self._listeners.close_file(path)

    def last_call(self, public: str) -> float | None:
        """When somebody with this key has called last, by the loop's clock; None when that is long ago, or never."""
        account = self._accounts.get(public)
        return account.counted_at if account is not None and account.counted_at else None

    @property
    def calls(self) -> int:
        """Calls in progress."""
        return sum(len(client.calls) for client in self._clients.values())

    def revoke(self, public: str) -> None:
        """A key opens nothing any more: end its calls and cut its connections."""
        for client in list(self._clients.values()):
            if client.public == public:
                self._turn_away(client.routing, _REVOKED)
                self._forget(client)
                self._cut_soon(client.wire)

    def recheck(self) -> None:
        """The policy has changed: end the open calls that it forbids."""
        for client in list(self._clients.values()):
            self._desk.recheck(client)

    def announce_server_key(self) -> None:
        """Tell every client which server key comes next, now and whenever it calls."""
        rotation = self._keyring.server.rotation
        self._ping = codec.encode_ping(rotation.pair.public if rotation is not None else None)
        for client in self._clients.values():
            client.told_key = False
        if self._switching is not None:
            self._switching.cancel()
        if rotation is not None:
            self._switching = self._loop.call_later(max(0.0, rotation.switch_at - time.time()), self.switch_server_key)

    def switch_server_key(self) -> None:
        """Serve new connections with the key that was announced; those through a socket file go on."""
        try:
            self._keyring.server.switch()
        except DeviceError as error:
            _log.error("the old server key goes on: %s", error.message)
            self._switching = self._loop.call_later(_AGAIN_SECONDS, self.switch_server_key)
            return
        self._socket.setsockopt(zmq.CURVE_SECRETKEY, self._keyring.server.pair.secret.encode())
        self._listeners.renew()
        self.on_server_key()
        self._recorder.happened(Kind.KEY, f"the server key is now {self._keyring.server.pair.public}")
        self.announce_server_key()
        self._schedule()

    def close(self) -> None:
        """End all calls, let the last answers out, and release the socket. May be called twice."""
        if self._closed:
            return
        for client in list(self._clients.values()):
            self._desk.end_calls(client, Ending.CLOSING)
        self._closed = True
        self._post.close()
        self._listeners.close()
        for timer in (self._tick, self._switching):
            if timer is not None:
                timer.cancel()
        self._loop.remove_reader(self._descriptor)
        self._socket.close(_FLUSH_MILLISECONDS)
        self._authenticator.close()
        self._context.term()
        self._listeners.remove_files()

    def _configure(self) -> None:
        options = {
            zmq.LINGER: 0,
            # Twice the limit, so that a frame a little too large gets an error instead of a closed connection.
            zmq.MAXMSGSIZE: 2 * MAX_FRAME,
            zmq.SNDHWM: self._bounds.queued_messages,
            zmq.RCVHWM: self._bounds.received_messages,
            zmq.ROUTER_MANDATORY: 1,
            zmq.ROUTER_HANDOVER: 0,
            zmq.HANDSHAKE_IVL: 5_000,
            zmq.HEARTBEAT_IVL: 5_000,
            zmq.HEARTBEAT_TIMEOUT: 15_000,
            zmq.CURVE_SERVER: 1,
        }
        for option, value in options.items():
            self._socket.setsockopt(option, value)
        self._socket.setsockopt(zmq.CURVE_SECRETKEY, self._keyring.server.pair.secret.encode())
        self._socket.setsockopt(zmq.ZAP_DOMAIN, DOMAIN)

    # --- in

    def _schedule(self) -> None:
        """Look at the socket again soon: a send may have swallowed the edge that announced a frame."""
        self._again = True
        if not self._draining and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._drain)

    def _drain(self) -> None:
        self._scheduled = False
        if self._closed:
            return
        self._draining = True
        emptied = False
        try:
            emptied = self._receive_some()
        finally:
            self._draining = False
            if not emptied or self._again:
                self._schedule()

    def _receive_some(self) -> bool:
        """Handle frames; says whether there was none left. Answers leave together, a few at a time: the last of them
        after the last look, so that `_again` tells whether another one is needed.
        """
        self._now = self._loop.time()
        for _ in range(_AT_ONCE // _TOGETHER):
            self._post.collect()
            self._again = False
            try:
                for _ in range(_TOGETHER):
                    routing = self._socket.recv(_NOBLOCK)
                    self._receive(routing, self._parts())
            except zmq.Again:
                return True
            finally:
                self._post.release()
        return False

    def _parts(self) -> list[zmq.Frame]:
        """What follows the routing id; asking each part for `more` is what keeps this cheap."""
        parts = [self._socket.recv(_NOBLOCK, copy=False)]
        while parts[-1].more:
            parts.append(self._socket.recv(_NOBLOCK, copy=False))
        return parts

    def _receive(self, routing: bytes, parts: list[zmq.Frame]) -> None:
        client = self._clients.get(routing)
        if client is None or self._keyring.known(client.public) is not client.account.identity:
            client = self._let_in(routing, parts[-1])
        if client is not None:
            self._serve(client, parts)

    def _let_in(self, routing: bytes, frame: zmq.Frame) -> Client | None:
        """The client of a connection that is new, or whose key has changed its meaning; None if it must go."""
        user = frame.get("User-Id")
        identity = self._keyring.known(user) if isinstance(user, str) else None
        if identity is not None:
            return self._admit_client(routing, identity, frame)
        self._turn_away(routing, _REVOKED)
        self._cut_soon(Wire.of(frame))
        return None

    def _turn_away(self, routing: bytes, error: Error) -> None:
        self._post.tell_stranger(routing, codec.encode_error(NO_CALL, error.failure()))

    def _cut_soon(self, wire: Wire | None) -> None:
        if wire is not None:
            self._loop.call_later(_CUT_SECONDS, wire.cut)

    def _admit_client(self, routing: bytes, identity: Identity, frame: zmq.Frame) -> Client | None:
        former = self._clients.get(routing)
        if former is not None:
            self._forget(former)
        account = self._account(identity)
        error: Error | None = None
        if routing[:1] != b"\0":
            error = ProtocolError("a client may not choose its routing id", "leave ZMQ_ROUTING_ID alone")
        elif account.connections >= self._bounds.connections:
            error = TryAgain(f"this key has {account.connections} connections, the most it may", "close some")
        wire = Wire.of(frame)
        if error is not None:
            self._turn_away(routing, error)
            self._cut_soon(wire)
            return None
        account.connections += 1
        client = self._clients[routing] = Client(routing, account, identity.public, wire)
        return client

    def _account(self, identity: Identity) -> Account:
        account = self._accounts.get(identity.public)
        if account is None or account.identity is not identity:
            rate = self._bounds.rate if identity.rate is None else identity.rate
            account = self._accounts[identity.public] = Account(identity, rate, counted_at=self._now)
        return account

    def _serve(self, client: Client, parts: list[zmq.Frame]) -> None:
        ignored = max(client.strikes.ignored_until, client.account.strikes.ignored_until)
        if ignored > self._now:
            self._turn_away(client.routing, _ignored(ignored - self._now))
            return
        if not client.told_key and self._keyring.server.rotation is not None:
            client.told_key = True
            self._post.send(client, self._ping)
        if len(parts) == 1:
            self._desk.take(client, _bytes(parts[0]), self._now)
        else:
            self._desk.refuse(client, NO_CALL, BadFrame(f"a message is one frame, not {len(parts)}"))

    def _strike(self, client: Client, reason: str) -> None:
        self._recorder.struck(client.account.principal, reason)
        one = client.strikes.add(self._now, self._bounds.strikes, self._bounds)
        every = client.account.strikes.add(self._now, self._bounds.key_strikes, self._bounds)
        if one or every:
            self._turn_away(client.routing, _ignored(self._bounds.ignored_seconds))

    # --- clients

    def _lose(self, client: Client) -> None:
        """End the calls of a client that is gone or does not read."""
        open_calls = tuple(client.calls)
        self._desk.end_calls(client, Ending.GONE)
        if client.standing is Standing.CHOKED:
            self._post.drop_backlog(client, open_calls)
            _log.warning(
                "%s did not read its messages and lost %d calls", client.account.principal.name, len(open_calls)
            )
        else:
            self._drop(client)

    def _forget(self, client: Client) -> None:
        client.standing = Standing.GONE
        self._desk.end_calls(client, Ending.GONE)
        client.drop_backlog()
        self._drop(client)

    def _drop(self, client: Client) -> None:
        if self._clients.get(client.routing) is client:
            del self._clients[client.routing]
            client.account.connections -= 1
        client.bond.end()

    def _look_after(self) -> None:
        """Find clients that vanished while they wait and keys that expired, and forget what nothing ties to us."""
        now = self._loop.time()
        for client in list(self._clients.values()):
            if self._keyring.known(client.public) is None:
                self.revoke(client.public)
            elif client.forgettable:
                self._drop(client)
            elif client.calls and not client.backlog:
                self._post.send(client, self._ping)
        for public, account in list(self._accounts.items()):
            if account.idle(now, self._bounds):
                del self._accounts[public]
        self._tick = self._loop.call_later(self._bounds.ping_seconds, self._look_after)


def _bytes(frame: zmq.Frame) -> bytes | memoryview:
    """What a frame holds; a large one is not copied, and lives as long as what was read from it."""
    return frame.buffer if len(frame) > _COPIED else frame.bytes


_REVOKED = PermissionDenied(
    "this key is not valid any more: it was revoked, or it has expired", "ask an administrator for another"
)


def _ignored(seconds: float) -> TryAgain:
    return TryAgain(f"you broke the rules too often and are not heard for {seconds:.0f} s", "docs/abi.md has them")
