"""What runs first in a container: it loads the SDK, says that it is ready, and waits to be told to run the app.

It stands alone in the image, beside the SDK, and must not import anything else of llmos. It is told on the standard
input: the length of a JSON list of arguments, in ten digits, and the list. Not a byte more is read, because what
follows is the app's. Nothing there, no app: the daemon has gone.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import runpy
import signal
import sys
import threading
from collections.abc import Sequence
from queue import SimpleQueue
from types import FrameType

PROXY = "/run/llmos/proxy.sock"
"""Where an app that may reach hosts finds the way to them."""

READY = b"\x1eready\n"
"""The first thing that a container says; not shown to anybody."""

_DIGITS = 10


def main() -> None:
    """Run the package that the command line names."""
    sdk = importlib.import_module("llmos")
    _ = sdk.connect, sdk.aconnect
    # The first process of a container gets no signal that it has not asked for.
    signal.signal(signal.SIGTERM, _end)
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    arguments = _told()
    if arguments is not None:
        if os.path.exists(PROXY):
            _reach_out()
        sys.argv = [sys.argv[1], *arguments]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def begin_with(arguments: Sequence[str]) -> bytes:
    """What tells it to run the app."""
    told = json.dumps(arguments).encode()
    return b"%0*d%b" % (_DIGITS, len(told), told)


def _told() -> list[str] | None:
    length = _exactly(_DIGITS)
    told = _exactly(int(length)) if length else b""
    arguments: list[str] | None = json.loads(told) if told else None
    return arguments


def _exactly(count: int) -> bytes:
    """So many bytes; none when there are less."""
    data = bytearray()
    while len(data) < count:
        part = os.read(0, count - len(data))
        if not part:
            return b""
        data += part
    return bytes(data)


def _reach_out() -> None:
    """Let clients of HTTP find the proxy: they know hosts and ports, and it is a socket file."""
    opened: SimpleQueue[int] = SimpleQueue()
    threading.Thread(target=asyncio.run, args=(_forward(opened),), name="proxy", daemon=True).start()
    proxy = f"http://127.0.0.1:{opened.get()}"
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        os.environ[name] = proxy


async def _forward(opened: SimpleQueue[int]) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far, far_out = await asyncio.open_unix_connection(PROXY)
        try:
            await asyncio.gather(_carry(reader, far_out), _carry(far, writer))
        except OSError:
            return
        finally:
            far_out.close()
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    opened.put(server.sockets[0].getsockname()[1])
    await server.serve_forever()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()
