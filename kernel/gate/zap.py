"""Who may connect: answers the ZeroMQ authentication protocol (RFC 27) for the gate's sockets.

It does not know calls or roles. Rules:

- Only CURVE, only our domain, only valid keys of people, apps and services: engines do not call. The authenticated key,
  as Z85, becomes the connection's `User-Id`. Whatever fails to parse is refused too.
- A refusal is a 400, which the client's monitor sees at once; yet an address that goes on trying gets its refusals
  later and later, and no more of them a second than cost nothing. Who is let in never waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

import zmq

from llmos.kernel.gate.recorder import Recorder
from llmos.kernel.security.identity.keyring import Keyring
from llmos.kernel.security.identity.registry import Identity
from llmos.syscalls.abi.words import KeyKind

DOMAIN = b"llmos"

FREE_REFUSALS = 8
"""Refusals that an address gets at once."""

REFUSALS_A_SECOND = 2.0
"""What an address that has used those up gets."""

MOST_ADDRESSES = 4096
MOST_WAITING = 4096

_VERSION = b"1.0"
_ADDRESS = 3
_PARTS_OF_CURVE = 7
_AT_ONCE = 32
"""Handshakes answered before others in the loop get their turn."""


@dataclass(slots=True, eq=False)
class Address:
    """Where refused handshakes came from, and when the next refusal may leave."""

    allowance: float = FREE_REFUSALS
    counted_at: float = 0.0
    waiting: deque[list[bytes]] = field(default_factory=deque)

    def take_turn(self, now: float) -> bool:
        """Whether a refusal may leave now."""
        grown = self.allowance + (now - self.counted_at) * REFUSALS_A_SECOND
        self.allowance, self.counted_at = min(float(FREE_REFUSALS), grown), now
        if self.allowance < 1.0:
            return False
        self.allowance -= 1.0
        return True


class Authenticator:
    """Serves `inproc://zeromq.zap.01` of one context; made before any socket of it binds."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        context: zmq.Context[zmq.Socket[bytes]],
        keyring: Keyring,
        recorder: Recorder,
    ) -> None:
        self._loop = loop
        self._keyring = keyring
        self._recorder = recorder
        self._addresses: dict[bytes, Address] = {}
        self._waiting = 0
        self._timer: asyncio.TimerHandle | None = None
        # Not a REP: one refusal that waits must not hold up the next handshake.
        self._socket = context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self._socket.bind("inproc://zeromq.zap.01")
        self._descriptor = self._socket.fileno()
        loop.add_reader(self._descriptor, self._drain)

    def close(self) -> None:
        """Stop answering."""
        if self._timer is not None:
            self._timer.cancel()
        if not self._socket.closed:
            self._loop.remove_reader(self._descriptor)
            self._socket.close(0)

    def _drain(self) -> None:
        if self._socket.closed:
            return
        for _ in range(_AT_ONCE):
            try:
                message = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            answer = self.answer(message)
            if answer is not None:
                self._socket.send_multipart(answer)
        self._loop.call_soon(self._drain)

    def answer(self, message: list[bytes]) -> list[bytes] | None:
        """What to answer now; None when the refusal has to wait."""
        # [who asks, empty, version, request id, domain, address, identity, mechanism, credentials...]
        empty = message.index(b"") if b"" in message else 0
        envelope, request = message[: empty + 1], message[empty + 1 :]
        number = request[1] if len(request) > 1 else b""
        key = _key(request)
        identity = self._keyring.of_bytes(key) if key is not None else None
        if identity is not None and self._lets_in(identity):
            return [*envelope, _VERSION, number, b"200", b"OK", identity.public.encode(), b""]
        address = request[_ADDRESS] if len(request) > _ADDRESS else b""
        self._note(key, identity, address)
        refusal = [*envelope, _VERSION, number, b"400", b"this key is not accepted here", b"", b""]
        return refusal if self._may_leave(address, refusal) else None

    def _lets_in(self, identity: Identity) -> bool:
        return self._keyring.valid(identity) and identity.principal.kind is not KeyKind.ENGINE

    def _note(self, key: bytes | None, identity: Identity | None, address: bytes) -> None:
        name = identity.principal.name if identity is not None else ""
        self._recorder.refused((key or b"").hex(), name, address.decode("ascii", "replace")[:128])

    # --- refusals

    def _may_leave(self, name: bytes, refusal: list[bytes]) -> bool:
        """Whether a refusal may leave at once; else it is kept until it may, as long as there is room."""
        address = self._addresses.get(name)
        if address is None:
            if len(self._addresses) >= MOST_ADDRESSES:
                self._forget_addresses()
            address = self._addresses[name] = Address(counted_at=self._loop.time())
        if not address.waiting and address.take_turn(self._loop.time()):
            return True
        if self._waiting < MOST_WAITING:
            # Beyond that the handshake runs into its own time limit.
            address.waiting.append(refusal)
            self._waiting += 1
            self._arm()
        return False

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(1 / REFUSALS_A_SECOND, self._refuse_waiting)

    def _refuse_waiting(self) -> None:
        self._timer = None
        for address in self._addresses.values():
            while address.waiting and address.take_turn(self._loop.time()):
                self._socket.send_multipart(address.waiting.popleft())
                self._waiting -= 1
        # The socket's edge-triggered descriptor may have told of a handshake during a send.
        self._drain()
        if self._waiting:
            self._arm()

    def _forget_addresses(self) -> None:
        for name in [name for name, address in self._addresses.items() if not address.waiting]:
            del self._addresses[name]


def _key(request: list[bytes]) -> bytes | None:
    """The key that a request is about, if it is one of ours."""
    if len(request) != _PARTS_OF_CURVE or request[0] != _VERSION:
        return None
    domain, mechanism, key = request[2], request[5], request[6]
    return key if domain == DOMAIN and mechanism == b"CURVE" and len(key) == 32 else None
