"""`python -m llmos.apps.mcp mount NAME (--url URL | -- COMMAND...)` and `... serve [--http HOST:PORT]`.

Both run in the foreground until either side ends, and use the key and the endpoint of `LLMOS_KEY` and `LLMOS_ENDPOINT`.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Coroutine, Sequence

from llmos.apps.mcp import mount, serve
from llmos.syscalls.abi.errors import Error, InvalidArgument

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def main(arguments: Sequence[str]) -> int:
    """Run one of the two; the exit code is 1 when it failed, 130 when it was interrupted."""
    chosen = _parser().parse_args(arguments)
    try:
        asyncio.run(_until_signalled(_work(chosen)))
    except (Error, mount.Unreachable, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        if isinstance(error, Error) and error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    return 0


def _work(chosen: argparse.Namespace) -> Coroutine[None, None, None]:
    match chosen.what:
        case "mount" if chosen.url is not None:
            return mount.mount(chosen.name, chosen.url)
        case "mount":
            if not chosen.command:
                raise InvalidArgument("there is nothing to mount", "give --url URL, or -- COMMAND...")
            return mount.mount(chosen.name, tuple(chosen.command))
        case _ if chosen.http is not None:
            return serve.serve_http(*_address(chosen.http))
        case _:
            return serve.serve_stdio()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not port.isdecimal() or int(port) > 65_535:
        raise InvalidArgument(f"{text!r} is not HOST:PORT", "127.0.0.1:8000")
    if host not in LOOPBACK:
        raise InvalidArgument(
            f"{host!r} is not this machine alone", "whoever reaches it calls with your key: 127.0.0.1, and a tunnel"
        )
    return host, int(port)


async def _until_signalled(work: Coroutine[None, None, None]) -> None:
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await task


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="llmosctl tool")
    what = parser.add_subparsers(dest="what", required=True)
    mounting = what.add_parser("mount")
    mounting.add_argument("name")
    mounting.add_argument("--url")
    mounting.add_argument("command", nargs="*")
    serving = what.add_parser("serve")
    serving.add_argument("--http", metavar="HOST:PORT")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
