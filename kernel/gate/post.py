"""What leaves the gate: frames to clients, each client's backlog, and what becomes of a client that does not
read.

It does not know calls beyond their ids. Rules: nothing here blocks; a client whose queue in the socket is
full gets a bounded backlog of its own that is tried again every few milliseconds; frames of one client
never overtake each other. A client that is gone, or whose backlog is over its bound, is marked at once and
reported to `lost` from a callback of the loop's, never from within `send`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import zmq

from llmos.kernel.gate.accounts import Bounds
from llmos.kernel.gate.clients import Client, Queued, Standing
from llmos.syscalls.abi.errors import TryAgain
from llmos.syscalls.wire import codec

# Plain numbers: combining the enumeration's members costs more than the rest of a small send.
_NOBLOCK, _MORE = int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE)

_UNREAD = TryAgain(
    "the client did not read its messages", "read faster, ask for less at once, or open more connections"
)


class Post:
    """Sends to clients through one ROUTER socket."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        socket: zmq.Socket[bytes],
        bounds: Bounds,
        sent: Callable[[], None],
        lost: Callable[[Client], None],
    ) -> None:
        self._loop = loop
        self._socket = socket
        self._bounds = bounds
        self._sent = sent
        self._lost = lost
        self._slow: dict[bytes, Client] = {}
        self._retry: asyncio.TimerHandle | None = None
        self._collecting = False
        self._collected: list[tuple[Client, bytes, int | None]] = []

    def send(self, client: Client, data: bytes, ends: int | None = None) -> None:
        """Send a frame, or keep it until the client reads; `ends` is the call that ends with it."""
        if self._collecting:
            self._collected.append((client, data, ends))
        else:
            self._send(client, data, ends)

    def collect(self) -> None:
        """Send nothing until `release`: the socket's thread is then woken once, and not for every frame."""
        self._collecting = True

    def release(self) -> None:
        """Send what was collected, in its order."""
        self._collecting = False
        collected, self._collected = self._collected, []
        for client, data, ends in collected:
            self._send(client, data, ends)

    def close(self) -> None:
        """Try no backlog again."""
        if self._retry is not None:
            self._retry.cancel()
        self._slow.clear()

    def tell_stranger(self, routing: bytes, data: bytes) -> None:
        """Send a frame to a connection that is no client; nothing happens when it cannot be reached."""
        if self._collected:
            self.release()
            self.collect()
        try:
            self._socket.send_multipart([routing, data], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EAGAIN, zmq.EHOSTUNREACH):
                raise
        self._sent()

    def drop_backlog(self, client: Client, open_calls: tuple[int, ...]) -> None:
        """Replace all that a client has not read by one short error for each call that is lost with it."""
        lost = (*client.drop_backlog(), *open_calls)
        if len(lost) > 2 * self._bounds.calls:
            # It has never read the last such list either.
            self._give_up(client, Standing.GONE)
            return
        for id in lost:
            client.push(Queued(codec.encode_error(id, _UNREAD.failure()), id))
        client.standing = Standing.SERVED
        self._wait_for(client)

    def _send(self, client: Client, data: bytes, ends: int | None) -> None:
        if client.standing is Standing.GONE:
            return
        if client.backlog or not self._leaves(client, data):
            self._keep(client, Queued(data, ends))

    def _leaves(self, client: Client, data: bytes) -> bool:
        """Hand a frame to the socket; False when it has no room for this client."""
        try:
            self._socket.send(client.routing, _MORE)
            self._socket.send(data, _NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._give_up(client, Standing.GONE)
        finally:
            self._sent()
        return True

    def _keep(self, client: Client, queued: Queued) -> None:
        if client.standing is Standing.SERVED or client.backlog_bytes < 2 * self._bounds.backlog_bytes:
            client.push(queued)
        too_much = client.backlog_bytes > self._bounds.backlog_bytes
        too_much |= client.account.backlog_bytes > self._bounds.key_backlog_bytes
        if too_much and client.standing is Standing.SERVED:
            self._give_up(client, Standing.CHOKED)
        self._wait_for(client)

    def _give_up(self, client: Client, standing: Standing) -> None:
        if standing is Standing.GONE:
            client.drop_backlog()
        client.standing = standing
        self._loop.call_soon(self._lost, client)

    def _wait_for(self, client: Client) -> None:
        self._slow[client.routing] = client
        if self._retry is None:
            self._retry = self._loop.call_later(self._bounds.retry_seconds, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        slow, self._slow = self._slow, {}
        for client in slow.values():
            self._flush(client)
            if client.backlog:
                self._wait_for(client)

    def _flush(self, client: Client) -> None:
        while client.backlog and self._leaves(client, client.backlog[0].data):
            if client.backlog:
                client.pop()
