"""What runs first in a container: it loads the SDK, says that it is ready, and waits to be told to run the app.

It stands alone in the image, beside the SDK, and must not import anything else of llmos. It is told by a line on the
standard input, a JSON list of arguments; what follows is the app's. No line, no app: the daemon has gone.
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
from queue import SimpleQueue
from types import FrameType

PROXY = "/run/llmos/proxy.sock"
"""Where an app that may reach hosts finds the way to them."""

READY = b"\x1eready\n"
"""The first thing that a container says; not shown to anybody."""


def main() -> None:
    """Run the package that the command line names."""
    sdk = importlib.import_module("llmos")
    _ = sdk.connect, sdk.aconnect
    # The first process of a container gets no signal that it has not asked for.
    signal.signal(signal.SIGTERM, _end)
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    line = sys.stdin.buffer.readline()
    if line:
        if os.path.exists(PROXY):
            _reach_out()
        sys.argv = [sys.argv[1], *json.loads(line)]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


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
