"""`llmosd`: puts the parts together, serves until it is told to stop, and takes them apart again.

It does not know what calls do or how engines work. Rules: what is wrong with the settings, the home or the
model is found before anything is served, and said in one line with a hint; a kernel bug (any exception that
reaches the loop) ends the daemon with its traceback and status 70; after an orderly end nothing of it is
left but the home's files. Logs go to stderr and never hold what people wrote.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

if sys.platform != "win32":
    import uvloop

from llmos.kernel.boot.hardening import harden
from llmos.kernel.boot.home import Home, PidAllocator, lock_home, open_home
from llmos.kernel.boot.security import open_security
from llmos.kernel.boot.service import EXIT_REFUSED, Assemble, Boot
from llmos.kernel.boot.settings import load_settings
from llmos.kernel.boot.wiring import assemble
from llmos.kernel.security.audit.record import Kind
from llmos.syscalls.abi.errors import Busy, Error, InvalidArgument, NotFound
from llmos.syscalls.wire.home import home_directory

EXIT_NOT_FOUND = 66
EXIT_KERNEL_BUG = 70
EXIT_BUSY = 75
EXIT_SETTINGS = 78
"""Exit statuses, as in sysexits.h; 2 is a wrong command line, 0 an orderly end."""

_log = logging.getLogger("llmos.boot")


@dataclass(frozen=True, slots=True)
class Options:
    """The command line."""

    home: Path
    config: Path | None
    settings: tuple[str, ...]
    ready: int | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon; its exit status."""
    options = parse(arguments)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO, force=True)
    # Casbin prints its model at every start.
    logging.getLogger("casbin").setLevel(logging.WARNING)
    harden()
    return run(options, assemble)


def parse(arguments: Sequence[str] | None, environment: Mapping[str, str] = os.environ) -> Options:
    """Read the command line; leaves with status 2 when it is wrong."""
    parser = argparse.ArgumentParser("llmosd", description="The llmos kernel daemon.", allow_abbrev=False)
    parser.add_argument("--home", type=Path, default=None, help="home directory (default: $LLMOS_HOME)")
    parser.add_argument("--config", type=Path, default=None, help="settings file (default: HOME/llmos.toml)")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="one setting")
    parser.add_argument("--ready-fd", type=int, default=None, metavar="N", help='gets "ready" and a newline')
    parser.add_argument("--version", action="version", version=f"llmosd {installed_version()}")
    read = parser.parse_args(arguments)
    return Options(read.home or home_directory(environment), read.config, tuple(read.set), read.ready_fd)


def run(options: Options, assemble: Assemble) -> int:
    """Serve until stopped; the exit status."""
    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(_serve(options, assemble))
    except Error as error:
        print(f"llmosd: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return _status(error)


def new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where there is one: a third off the way of a call through the loop."""
    return asyncio.new_event_loop() if sys.platform == "win32" else uvloop.new_event_loop()


def installed_version() -> str:
    """The version of llmos."""
    try:
        return version("llmos")
    except PackageNotFoundError:
        return "0 (not installed)"


async def _serve(options: Options, assemble: Assemble) -> int:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()
    _watch(loop, ended)
    with ExitStack() as stack:
        ready = _ReadyLine(options.ready)
        stack.callback(ready.close)
        home = open_home(options.home)
        stack.callback(lock_home(home).release)
        settings = load_settings(_settings_file(options, home), options.settings)
        boot = Boot(
            loop=loop,
            settings=settings,
            home=home,
            pids=PidAllocator(home.pids),
            version=installed_version(),
            stop=lambda status: _end(ended, status),
            serving=ready.write,
        )
        service = assemble(boot)
        stack.callback(service.close)
        security = open_security(loop, home, settings.security, service, service.dispatch)
        stack.callback(security.close)
        loop.add_signal_handler(signal.SIGHUP, security.keeper.reload)
        endpoints = security.gate.open((home.endpoint, *settings.wire.listen))
        security.keeper.watch()
        security.recorder.happened(Kind.DAEMON, f"llmos {boot.version} serves {', '.join(endpoints)}")
        service.begin(security)
        _log.info("llmos %s serves %s", boot.version, ", ".join(endpoints))
        status = await ended
        security.recorder.happened(Kind.DAEMON, "llmos stops")
        _log.info("llmos stops")
    return status


def _watch(loop: asyncio.AbstractEventLoop, ended: asyncio.Future[int]) -> None:
    """End in good order on a signal, and with a traceback on a bug."""

    def bug(_: asyncio.AbstractEventLoop, context: Mapping[str, object]) -> None:
        error = context.get("exception")
        shown = error if isinstance(error, BaseException) else None
        _log.critical("kernel bug: %s", context.get("message"), exc_info=shown)
        _end(ended, EXIT_KERNEL_BUG)

    loop.set_exception_handler(bug)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _end, ended, 0)


def _end(ended: asyncio.Future[int], status: int) -> None:
    if not ended.done():
        ended.set_result(status)


def _settings_file(options: Options, home: Home) -> Path | None:
    if options.config is not None:
        return options.config
    return home.settings if home.settings.exists() else None


class _ReadyLine:
    """The pipe on which whoever started us waits."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        if descriptor is not None:
            try:
                # Engines must not keep it open: its end tells that we failed.
                os.set_inheritable(descriptor, False)
            except OSError as error:
                raise InvalidArgument(f"--ready-fd {descriptor}: {error.strerror}") from None

    def write(self) -> None:
        if self._descriptor is not None:
            with suppress(BrokenPipeError):
                os.write(self._descriptor, b"ready\n")
        self.close()

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _status(error: Error) -> int:
    match error:
        case InvalidArgument():
            return EXIT_SETTINGS
        case Busy():
            return EXIT_BUSY
        case NotFound():
            return EXIT_NOT_FOUND
        case _:
            return EXIT_REFUSED
