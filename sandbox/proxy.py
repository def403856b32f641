"""The way out for apps that name hosts: a proxy for each, on a socket file that its containers see.

It speaks CONNECT of HTTP/1.1 (RFC 9110, section 9.3.6) and nothing else: what goes through is between the app and the
host. Rules: a host that is not named is refused and told; a name that leads to this machine or a private network is
refused, unless it is such an address that was named; what one connection may take is bounded, and all that is slow
holds up is itself.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CONNECTIONS: Final = 64
"""Of one app at a time."""

HEAD_BYTES: Final = 8_192
HEAD_SECONDS: Final = 10.0
CONNECT_SECONDS: Final = 15.0
IDLE_SECONDS: Final = 300.0
_PIECE: Final = 1 << 16
_OPENED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"


class _Refused(Exception):
    """A request that cannot be; the status to answer with."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


@dataclass(slots=True, eq=False)
class _Way:
    """The proxy of one app."""

    app: str
    hosts: frozenset[str]
    server: asyncio.Server
    connections: int = 0


class Proxies:
    """Those of all apps, in a thread of their own. `told` hears, in that thread, what an app was let through to or
    not.
    """

    def __init__(self, told: Callable[[str, str, bool], None]) -> None:
        self._told = told
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._ways: dict[Path, _Way] = {}

    def open(self, app: str, path: Path, user: int, hosts: Sequence[str]) -> None:
        """Let an app reach these hosts, `HOST:PORT` each, through a socket file of this user; replaces what was
        there.
        """
        loop = self._running()
        asyncio.run_coroutine_threadsafe(self._open(app, path, user, frozenset(hosts)), loop).result()

    def close(self, path: Path) -> None:
        """Let nobody through there any more."""
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(self._close(path), self._loop).result()

    def end(self) -> None:
        """Close all of them, and end the thread."""
        loop, self._loop = self._loop, None
        if loop is not None and self._thread is not None:
            asyncio.run_coroutine_threadsafe(self._end_all(), loop)
            self._thread.join()

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            loop = self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=_run, args=(loop,), name="proxies", daemon=True)
            self._thread.start()
        return self._loop

    async def _end_all(self) -> None:
        for path in tuple(self._ways):
            await self._close(path)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        asyncio.get_running_loop().stop()

    async def _open(self, app: str, path: Path, user: int, hosts: frozenset[str]) -> None:
        await self._close(path)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve(self._ways[path], reader, writer)

        mask = os.umask(0o177)
        try:
            server = await asyncio.start_unix_server(serve, path, limit=HEAD_BYTES)
        finally:
            os.umask(mask)
        if user != os.getuid():
            os.chown(path, user, user)
        self._ways[path] = _Way(app, hosts, server)

    async def _close(self, path: Path) -> None:
        way = self._ways.pop(path, None)
        if way is not None:
            way.server.close()
        path.unlink(missing_ok=True)

    async def _serve(self, way: _Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        way.connections += 1
        try:
            outward = await self._admit(way, reader)
            writer.write(_OPENED)
            await _carry_both(reader, writer, *outward)
        except _Refused as refused:
            writer.write(f"HTTP/1.1 {refused.status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return
        finally:
            way.connections -= 1
            writer.close()

    async def _admit(
        self, way: _Way, reader: asyncio.StreamReader
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if way.connections > CONNECTIONS:
            raise _Refused("429 Too Many Requests")
        host = _asked(await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEAD_SECONDS))
        if host not in way.hosts:
            self._told(way.app, host, False)
            raise _Refused("403 Forbidden")
        name, _, port = host.rpartition(":")
        try:
            address = await _address(name, int(port))
            outward = await asyncio.wait_for(asyncio.open_connection(address, int(port)), CONNECT_SECONDS)
        except (OSError, TimeoutError):
            raise _Refused("502 Bad Gateway") from None
        self._told(way.app, host, True)
        return outward


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


def _asked(head: bytes) -> str:
    """Whom a request is to reach, `HOST:PORT`."""
    words = head.split(b"\r\n", 1)[0].split(b" ")
    if len(words) != 3 or words[0] != b"CONNECT":
        raise _Refused("405 Method Not Allowed")
    try:
        return words[1].decode("ascii").lower()
    except UnicodeDecodeError:
        raise _Refused("400 Bad Request") from None


async def _address(name: str, port: int) -> str:
    """Where a name leads. Raises `_Refused` when that is no place for strangers, and `OSError`."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass  # a name, not an address
    loop = asyncio.get_running_loop()
    found = [str(one[4][0]) for one in await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM)]
    if not found or not all(ipaddress.ip_address(one).is_global for one in found):
        raise _Refused("403 Forbidden")
    return found[0]


async def _carry_both(
    inner: asyncio.StreamReader,
    inner_out: asyncio.StreamWriter,
    outer: asyncio.StreamReader,
    outer_out: asyncio.StreamWriter,
) -> None:
    try:
        await asyncio.gather(_carry(inner, outer_out), _carry(outer, inner_out))
    finally:
        outer_out.close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await asyncio.wait_for(reader.read(_PIECE), IDLE_SECONDS):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
