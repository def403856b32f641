"""Where the gate listens: its endpoints, and further socket files, each for one user of the host.

It does not know clients or keys. Rule: a port that somebody took while it was bound anew is tried again and again.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import zmq

from llmos.kernel.gate.endpoints import bind, bind_again, remove_file
from llmos.syscalls.abi.errors import Busy, InvalidArgument

AGAIN_SECONDS = 1.0
"""After so long a port that somebody has taken is tried again."""

_log = logging.getLogger("llmos.gate")


class Listeners:
    """Of one ROUTER socket."""

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: zmq.Socket[bytes]) -> None:
        self._loop = loop
        self._socket = socket
        self._bound: list[str] = []
        self._users: dict[str, int] = {}
        self._binding: asyncio.TimerHandle | None = None
        self._closed = False

    def open(self, endpoint: str) -> str:
        """Listen; the endpoint as clients name it. Raises `InvalidArgument`, `Busy`."""
        self._bound.append(bind(self._socket, endpoint))
        return self._bound[-1]

    def open_for(self, path: Path, user: int) -> None:
        """Listen on a socket file that belongs to this user. Raises `InvalidArgument`, `Busy`."""
        self._users[self.open(f"ipc://{path}")] = user
        self._give(f"ipc://{path}")

    def close_file(self, path: Path) -> None:
        """Listen there no more; connections that came that way go on."""
        endpoint = f"ipc://{path}"
        if endpoint in self._bound:
            self._bound.remove(endpoint)
            self._users.pop(endpoint, None)
            self._socket.unbind(endpoint)
            remove_file(endpoint)

    def renew(self) -> None:
        """Listen anew, so that new connections get what the socket is set to now."""
        self._renew(tuple(self._bound))

    def close(self) -> None:
        """Try nothing again."""
        self._closed = True
        if self._binding is not None:
            self._binding.cancel()

    def remove_files(self) -> None:
        """Leave no socket file behind; the socket is closed."""
        for endpoint in self._bound:
            remove_file(endpoint)

    def _renew(self, endpoints: Sequence[str]) -> None:
        taken = []
        for endpoint in endpoints:
            try:
                bind_again(self._socket, endpoint)
                self._give(endpoint)
            except (Busy, InvalidArgument) as error:
                _log.error("no new connections at %s: %s", endpoint, error.message)
                taken.append(endpoint)
        if taken and not self._closed:
            self._binding = self._loop.call_later(AGAIN_SECONDS, self._renew, taken)

    def _give(self, endpoint: str) -> None:
        user = self._users.get(endpoint)
        if user is not None and user != os.getuid():
            os.chown(endpoint.removeprefix("ipc://"), user, user)
