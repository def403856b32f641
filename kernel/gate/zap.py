"""Who may connect: answers the ZeroMQ authentication protocol (RFC 27) for the gate's sockets.

It does not know calls or roles. Rules: only CURVE, only our domain, only keys that `known` accepts; the
authenticated key, as Z85, becomes the connection's `User-Id`. A refusal is a 400, which the client's
monitor sees at once. Whatever fails to parse is refused too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import zmq
from zmq.utils import z85

DOMAIN = b"llmos"

_VERSION = b"1.0"
_PARTS_OF_CURVE = 7
_AT_ONCE = 32
"""Handshakes answered before others in the loop get their turn."""


class Authenticator:
    """Serves `inproc://zeromq.zap.01` of one context; made before any socket of it binds."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, context: zmq.Context[zmq.Socket[bytes]], known: Callable[[str], bool]
    ) -> None:
        self._loop = loop
        self._known = known
        self._socket = context.socket(zmq.REP)
        self._socket.linger = 0
        self._socket.bind("inproc://zeromq.zap.01")
        self._descriptor = self._socket.fileno()
        loop.add_reader(self._descriptor, self._drain)

    def close(self) -> None:
        """Stop answering."""
        if not self._socket.closed:
            self._loop.remove_reader(self._descriptor)
            self._socket.close(0)

    def _drain(self) -> None:
        if self._socket.closed:
            return
        for _ in range(_AT_ONCE):
            try:
                request = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._socket.send_multipart(self._answer(request))
        self._loop.call_soon(self._drain)

    def _answer(self, request: list[bytes]) -> list[bytes]:
        number = request[1] if len(request) > 1 else b""
        user = self._user(request)
        if user is None:
            return [_VERSION, number, b"400", b"this key is not known here", b"", b""]
        return [_VERSION, number, b"200", b"OK", user.encode(), b""]

    def _user(self, request: list[bytes]) -> str | None:
        if len(request) != _PARTS_OF_CURVE or request[0] != _VERSION:
            return None
        domain, mechanism, key = request[2], request[5], request[6]
        if domain != DOMAIN or mechanism != b"CURVE" or len(key) != 32:
            return None
        user = z85.encode(key).decode()
        return user if self._known(user) else None
