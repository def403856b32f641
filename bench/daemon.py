"""A daemon for one benchmark: in a home of its own that is gone afterwards, with the settings of the benchmark.

It starts `llmosd` as a user would and talks to it through the SDK; nothing of the kernel is in this process.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import llmos
from llmos.syscalls.wire.home import default_key, socket_endpoint

_PATIENCE = 30.0


class DaemonFailed(Exception):
    """The daemon was not ready; the text is its log."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """A daemon that is ready."""

    home: Path
    os_pid: int

    @property
    def endpoint(self) -> str:
        """Its socket."""
        return socket_endpoint(self.home)

    @property
    def tcp_endpoint(self) -> str:
        """Where it listens on TCP, as its log says."""
        found = re.search(r"tcp://127\.0\.0\.1:\d+", (self.home / "log").read_text(encoding="utf-8"))
        if found is None:
            raise AssertionError("it was not told to listen")
        return found[0]

    @property
    def key(self) -> Path:
        """The administrator's key file."""
        return default_key(self.home)

    def connect(self) -> llmos.System:
        """A connection as administrator."""
        return llmos.connect(self.endpoint, self.key)


@contextmanager
def daemon(listen: bool = False, settings: Sequence[str] = (), **engine: str | int) -> Iterator[Daemon]:
    """Start a daemon with these settings of `[engine]` and these others, and end it afterwards; with `listen` also on
    TCP.

    Raises `DaemonFailed`.
    """
    with TemporaryDirectory(prefix="llmos-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        with (home / "log").open("wb") as log:
            process = _start(home, engine, settings, log.fileno(), listen)
        try:
            yield Daemon(home, process.pid)
        finally:
            process.terminate()
            process.wait(_PATIENCE)


def counters(system: llmos.System) -> Mapping[str, float]:
    """All counters and gauges of a daemon by name."""
    return {metric.name: metric.value for metric in system.metrics()}


def prompt(source: random.Random, tokens: int) -> list[int]:
    """A context that no other process shares: speed does not depend on which tokens there are."""
    return [source.randrange(1000, 40_000) for _ in range(tokens)]


def _start(
    home: Path, engine: Mapping[str, str | int], settings: Sequence[str], log: int, listen: bool
) -> subprocess.Popen[bytes]:
    reader, writer = os.pipe()
    given = (*(f"engine.{key}={value}" for key, value in engine.items()), *settings)
    overlays = [word for setting in given for word in ("--set", setting)]
    if listen:
        overlays += ["--set", 'wire.listen=["tcp://127.0.0.1:*"]']
    command = [sys.executable, "-m", "llmos.kernel.boot", "--home", str(home), *overlays, "--ready-fd", str(writer)]
    with os.fdopen(reader, "rb") as pipe:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(writer,))
        os.close(writer)
        ready = pipe.readline().strip() == b"ready"
    if not ready:
        process.wait(_PATIENCE)
        raise DaemonFailed((home / "log").read_text(encoding="utf-8"))
    return process
