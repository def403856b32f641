"""The home directory of a daemon: its layout, its lock, and the pids that it has given out.

It does not know what is in the files of others. Rules: one daemon a home, kept by a lock that dies with its
holder; a pid is never given out twice while the home lives, also after a crash: pids are reserved in
blocks, on disk before the first of a block is used.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from llmos.syscalls.abi.errors import Busy, InvalidArgument
from llmos.syscalls.abi.words import INIT, Pid
from llmos.syscalls.wire.home import socket_endpoint

_BLOCK = 1024


@dataclass(frozen=True, slots=True)
class Home:
    """Where things are."""

    root: Path

    @property
    def run(self) -> Path:
        """What lives as long as a daemon: socket, lock, log."""
        return self.root / "run"

    @property
    def keys(self) -> Path:
        """Keys and principals."""
        return self.root / "keys"

    @property
    def policy(self) -> Path:
        """Policy files of one's own, beside the shipped roles."""
        return self.root / "policy"

    @property
    def audit(self) -> Path:
        """The audit log."""
        return self.root / "audit"

    @property
    def store(self) -> Path:
        """Databases, one for each group of calls that keeps something."""
        return self.root / "store"

    @property
    def files(self) -> Path:
        """Files of all principals, and what is kept of them."""
        return self.root / "files"

    @property
    def apps(self) -> Path:
        """Installed apps."""
        return self.root / "apps"

    @property
    def settings(self) -> Path:
        """The settings file, if there is one."""
        return self.root / "llmos.toml"

    @property
    def pids(self) -> Path:
        """The first pid that was never reserved."""
        return self.root / "pids"

    @property
    def endpoint(self) -> str:
        """The socket. Raises `InvalidArgument` when its path is too long for one."""
        return socket_endpoint(self.root)


class HomeLock:
    """A home that is ours until `release`, or until we die."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def release(self) -> None:
        """Let another daemon have the home. May be called twice."""
        self._file.close()


def open_home(root: Path) -> Home:
    """Make what is missing of the home's folders. Raises `InvalidArgument`."""
    home = Home(root.expanduser().absolute())
    _ = home.endpoint
    try:
        home.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (home.run, home.keys, home.store):
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)
    except OSError as error:
        raise InvalidArgument(
            f"the home directory {home.root} cannot be used: {error.strerror}", "--home or LLMOS_HOME names another"
        ) from None
    return home


def lock_home(home: Home) -> HomeLock:
    """Take the home. Raises `Busy` when a daemon has it, and names that daemon."""
    # Opened for appending: the text is the holder's until the lock is ours.
    file = open(home.run / "lock", "a+", encoding="ascii")  # noqa: SIM115 (held until release)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read(32).strip() or "?"
        file.close()
        raise Busy(
            f"a daemon with the process id {holder} has the home {home.root} already",
            "llmosctl down stops it; --home names another home",
        ) from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return HomeLock(file)


class PidAllocator:
    """Gives out pids, rising, each once in the life of the home. The home's lock must be held."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next = self._reserved = _read_mark(path)

    def allocate(self) -> Pid:
        """A pid that no process ever had."""
        if self._next == self._reserved:
            _write_mark(self._path, self._reserved + _BLOCK)
            self._reserved += _BLOCK
        pid = Pid(self._next)
        self._next += 1
        return pid


def _read_mark(path: Path) -> int:
    try:
        words = path.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return INIT + 1
    if not words.isdecimal() or int(words) <= INIT:
        raise InvalidArgument(
            f"{path} is damaged: it holds no pid",
            "write a number into it that is higher than any pid this home has had",
        )
    return int(words)


def _write_mark(path: Path, mark: int) -> None:
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("w", encoding="ascii") as file:
        file.write(f"{mark}\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
