"""The gate: the one ROUTER socket through which every call comes in and every answer leaves.

It does not know what calls do (dispatch does), what policies say (the membrane does) or what processes are.
Rules:

- Who calls is the authenticated key of the connection, asked anew for every frame. Routing ids that clients
  choose themselves are refused: whoever took over such an id would get the answers meant for its former
  holder.
- Whatever a client sends costs at most that client something: an error, a strike, its own calls.
- The socket's descriptor is edge-triggered: after a send outside of `_drain` the socket is looked at again.
- Handlers' callbacks run from the loop itself, never inside a `reply`, `fail` or `event`: a send that fails
  marks the client, and its calls end in a callback of their own.
- An `Error` that dispatch raises is the caller's fault and becomes the answer. Any other exception goes to
  the loop's exception handler, which the daemon makes fatal.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import assert_never

import zmq

from llmos.kernel.gate.channel import Channel, Ending
from llmos.kernel.gate.clients import Bounds, Client, OpenCall, Standing
from llmos.kernel.gate.endpoints import bind, remove_file
from llmos.kernel.gate.keyring import Keyring
from llmos.kernel.gate.membrane import Authorized, Membrane
from llmos.kernel.gate.post import Post
from llmos.kernel.gate.principal import Principal
from llmos.kernel.gate.zap import DOMAIN, Authenticator
from llmos.syscalls.abi.errors import Error, InvalidArgument, MessageTooLong, PermissionDenied, ProtocolError, TryAgain
from llmos.syscalls.abi.messages import Generate
from llmos.syscalls.abi.table import Call
from llmos.syscalls.abi.words import Record
from llmos.syscalls.wire import codec
from llmos.syscalls.wire.frames import MAX_FRAME, MAX_REPLY, NO_CALL, BadFrame, CallFrame, CancelFrame, CreditFrame

Dispatch = Callable[[Authorized, Call, Record, Channel], None]
"""Begins a call; the answer goes through the channel, now or later. Raises an abi `Error` for the caller's fault."""

_NOBLOCK = int(zmq.NOBLOCK)

_AT_ONCE = 64
"""Frames handled before others in the loop get their turn."""

_FLUSH_MILLISECONDS = 300
"""How long closing waits for last answers to leave."""

_log = logging.getLogger("llmos.gate")


class Gate:
    """Serves calls on its endpoints between `open` and `close`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        keyring: Keyring,
        membrane: Membrane,
        dispatch: Dispatch,
        bounds: Bounds | None = None,
    ) -> None:
        self._loop = loop
        self._keyring = keyring
        self._membrane = membrane
        self._dispatch = dispatch
        self._bounds = bounds or Bounds()
        self._clients: dict[bytes, Client] = {}
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._authenticator = Authenticator(loop, self._context, lambda key: keyring.find(key) is not None)
        self._socket = self._context.socket(zmq.ROUTER)
        self._configure()
        self._descriptor = self._socket.fileno()
        self._post = Post(loop, self._socket, self._bounds, self._schedule, self._lose)
        self._draining = self._scheduled = self._closed = False
        self._bound: list[str] = []
        self._tick: asyncio.TimerHandle | None = None

    def open(self, endpoints: Sequence[str]) -> tuple[str, ...]:
        """Listen on all of them; how clients name them. Raises `InvalidArgument` or `Busy`; close it then, too."""
        for endpoint in endpoints:
            self._bound.append(bind(self._socket, endpoint))
        self._loop.add_reader(self._descriptor, self._drain)
        self._tick = self._loop.call_later(self._bounds.ping_seconds, self._look_after)
        self._schedule()
        return tuple(self._bound)

    @property
    def calls(self) -> int:
        """Calls in progress."""
        return sum(len(client.calls) for client in self._clients.values())

    def close(self) -> None:
        """End all calls, let the last answers out, and release the socket. May be called twice."""
        if self._closed:
            return
        for client in list(self._clients.values()):
            self._end_calls(client, Ending.CLOSING)
        self._closed = True
        self._post.close()
        if self._tick is not None:
            self._tick.cancel()
        self._loop.remove_reader(self._descriptor)
        self._socket.close(_FLUSH_MILLISECONDS)
        self._authenticator.close()
        self._context.term()
        for endpoint in self._bound:
            remove_file(endpoint)

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
        self._socket.setsockopt(zmq.CURVE_SECRETKEY, self._keyring.pair.secret.encode())
        self._socket.setsockopt(zmq.ZAP_DOMAIN, DOMAIN)

    # --- in

    def _schedule(self) -> None:
        """Look at the socket again soon: a send may have swallowed the edge that announced a frame."""
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
            if not emptied:
                self._schedule()

    def _receive_some(self) -> bool:
        """Handle frames; says whether there is none left."""
        for _ in range(_AT_ONCE):
            try:
                routing = self._socket.recv(_NOBLOCK)
            except zmq.Again:
                return True
            self._receive(routing, self._parts())
        return False

    def _parts(self) -> list[zmq.Frame]:
        """What follows the routing id; asking each part for `more` is what keeps this cheap."""
        parts = [self._socket.recv(_NOBLOCK, copy=False)]
        while parts[-1].more:
            parts.append(self._socket.recv(_NOBLOCK, copy=False))
        return parts

    def _receive(self, routing: bytes, parts: list[zmq.Frame]) -> None:
        user = parts[-1].get("User-Id")
        principal = self._keyring.known(user) if isinstance(user, str) else None
        if principal is None:
            self._turn_away(
                routing, PermissionDenied("this key is not valid any more", "ask an administrator for another")
            )
        elif routing[:1] != b"\0":
            self._turn_away(
                routing, ProtocolError("a client may not choose its routing id", "leave ZMQ_ROUTING_ID alone")
            )
        else:
            self._serve(self._client(routing, principal), parts)

    def _turn_away(self, routing: bytes, error: Error) -> None:
        self._post.tell_stranger(routing, codec.encode_error(NO_CALL, error.failure()))

    def _client(self, routing: bytes, principal: Principal) -> Client:
        client = self._clients.get(routing)
        if client is not None and client.principal != principal:
            self._forget(client)
            client = None
        if client is None:
            client = self._clients[routing] = Client(routing, principal)
        return client

    def _serve(self, client: Client, parts: list[zmq.Frame]) -> None:
        if client.ignored_until > self._loop.time():
            return
        try:
            if len(parts) != 1:
                raise BadFrame(f"a message is one frame, not {len(parts)}")
            self._handle(client, parts[0].bytes)
        except BadFrame as error:
            # An answer to an open id would end that call for the client, and it has not ended.
            self._refuse(client, NO_CALL if error.id in client.calls else error.id, error)
        except MessageTooLong as error:
            self._refuse(client, NO_CALL, error)

    def _handle(self, client: Client, data: bytes) -> None:
        frame = codec.decode_request(data)
        match frame:
            case CallFrame():
                self._begin(client, frame)
            case CreditFrame(id, credit):
                if (open_call := client.calls.get(id)) is not None:
                    open_call.channel.grant(credit)
            case CancelFrame(id):
                if (open_call := client.calls.get(id)) is not None:
                    open_call.channel.end(Ending.CANCELLED)
            case _:
                assert_never(frame)

    def _begin(self, client: Client, frame: CallFrame) -> None:
        """Decode, authorise, check; then perform."""
        try:
            call = codec.find_call(frame.call)
            request = codec.decode_arguments(frame.call, frame.args)
            authorized = self._membrane.authorize_call(client.principal, call, request)
            channel = self._admit(client, frame, request)
        except ProtocolError as error:
            self._refuse(client, frame.id, error)
            return
        except Error as error:
            self._fail(client, frame.id, error)
            return
        try:
            self._dispatch(authorized, call, request, channel)
        except Error as error:
            channel.fail(error)

    def _admit(self, client: Client, frame: CallFrame, request: Record) -> Channel:
        if frame.id in client.calls:
            raise InvalidArgument(f"the call {frame.id} of this connection is still open", "give every call a new id")
        if len(client.calls) >= self._bounds.calls:
            raise TryAgain(
                f"{self._bounds.calls} calls of this connection are open, the most there may be",
                "wait for some of them, or open another connection",
            )
        channel = Channel(_CallOutlet(self, client, frame.id), _first_credit(request))
        timer = None
        if frame.timeout is not None:
            timer = self._loop.call_later(frame.timeout, channel.end, Ending.TIMED_OUT)
        client.calls[frame.id] = OpenCall(channel, timer)
        return channel

    # --- out

    def _refuse(self, client: Client, id: int, error: Error) -> None:
        """Answer a frame that breaks the protocol; it costs a strike."""
        client.strike(self._loop.time(), self._bounds)
        self._fail(client, id, error)

    def _fail(self, client: Client, id: int, error: Error) -> None:
        self._post.send(client, codec.encode_error(id, error.failure()), id)

    def _answer(self, client: Client, id: int, data: bytes) -> None:
        """Send the last frame of a call."""
        if len(data) > MAX_REPLY:
            error = MessageTooLong(
                f"the answer has {len(data)} bytes; the limit is {MAX_REPLY}", "ask for less at once"
            )
            data = codec.encode_error(id, error.failure())
        self._close_call(client, id)
        self._post.send(client, data, id)

    def _event(self, client: Client, data: bytes) -> None:
        self._post.send(client, data)

    def _close_call(self, client: Client, id: int) -> None:
        open_call = client.calls.pop(id, None)
        if open_call is not None and open_call.timer is not None:
            open_call.timer.cancel()

    # --- clients

    def _lose(self, client: Client) -> None:
        """End the calls of a client that is gone or does not read."""
        open_calls = tuple(client.calls)
        self._end_calls(client, Ending.GONE)
        if client.standing is Standing.CHOKED:
            self._post.drop_backlog(client, open_calls)
            _log.warning("%s did not read its messages and lost %d calls", client.principal.name, len(open_calls))
        elif self._clients.get(client.routing) is client:
            del self._clients[client.routing]

    def _forget(self, client: Client) -> None:
        client.standing = Standing.GONE
        self._end_calls(client, Ending.GONE)
        client.drop_backlog()

    def _end_calls(self, client: Client, ending: Ending) -> None:
        for id, open_call in list(client.calls.items()):
            open_call.channel.end(ending)
            self._close_call(client, id)

    def _look_after(self) -> None:
        """Find clients that vanished while they wait, and forget those that nothing ties to us."""
        now = self._loop.time()
        for client in list(self._clients.values()):
            if client.idle(now, self._bounds):
                del self._clients[client.routing]
            elif client.calls and not client.backlog:
                self._post.send(client, codec.encode_ping())
        self._tick = self._loop.call_later(self._bounds.ping_seconds, self._look_after)


class _CallOutlet:
    """The way out for the frames of one call."""

    __slots__ = ("_client", "_gate", "_id")

    def __init__(self, gate: Gate, client: Client, id: int) -> None:
        self._gate = gate
        self._client = client
        self._id = id

    def reply(self, record: Record) -> None:
        self._gate._answer(self._client, self._id, codec.encode_ok(self._id, record))

    def fail(self, error: Error) -> None:
        self._gate._answer(self._client, self._id, codec.encode_error(self._id, error.failure()))

    def event(self, record: Record) -> None:
        self._gate._event(self._client, codec.encode_event(self._id, record))


def _first_credit(request: Record) -> int:
    return request.window if isinstance(request, Generate) else 0
