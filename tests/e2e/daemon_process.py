"""A daemon as a real OS process, and what must hold when it has ended.

It knows the daemon's command line, its home and its clients' library; nothing of the kernel. A home is a short
temporary folder, because paths of Unix sockets are short. `Daemon.stop` ends the daemon in good order and fails when
anything of it is left: an OS process, the socket, a file in shared memory, or a file in the home that belongs to no
home.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import psutil

import llmos
from llmos.kernel.security.identity.keyring import Keyring

START_SECONDS = 120.0
STOP_SECONDS = 60.0
SHARED_MEMORY = Path("/dev/shm")
USER = "bob"
"""A principal that every daemon here knows besides its administrator; its role is `developer`."""

KEPT = {
    *("keys", "keys/admin.key", "keys/bob.key", "keys/principals.toml", "keys/server.key", "keys/server.pub"),
    *("keys/audit.key", "keys/audit-digest.key", "audit", "audit/audit-000000000001.jsonl", "audit/audit.pub"),
    *("store", "store/mail.db", "store/memory.db"),
    *("audit/head.json", "pids", "policy", "run", "run/lock", "run/llmosd.log"),
    *("files", "files/.kept", "files/.kept/admin", "files/.kept/admin/temporary", "files/.kept/admin/versions"),
    *("files/admin", "files/bob", "files/.kept/bob", "files/.kept/bob/temporary", "files/.kept/bob/versions"),
}
"""All that a home may hold after its daemon has ended."""


@dataclass(slots=True)
class Daemon:
    """A daemon that is ready, until `stop`."""

    home: Path
    process: subprocess.Popen[bytes]
    shared_memory: frozenset[str]

    @property
    def endpoint(self) -> str:
        """The socket in its home."""
        return f"ipc://{self.home}/run/kernel.sock"

    @property
    def tcp_endpoint(self) -> str:
        """The TCP endpoint that it was told to choose by `tcp://127.0.0.1:0`."""
        found = re.search(r"tcp://127\.0\.0\.1:\d+", self.log)
        assert found is not None, self.log
        return found[0]

    @property
    def log(self) -> str:
        """What it has said so far."""
        return (self.home / "run" / "llmosd.log").read_text(encoding="utf-8")

    def key(self, name: str = "admin") -> Path:
        """The key file of a principal."""
        return self.home / "keys" / f"{name}.key"

    def connect(self, name: str = "admin") -> llmos.System:
        """A connection of a principal."""
        return llmos.connect(self.endpoint, self.key(name))

    def llmosctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command as its administrator; it must succeed."""
        environment = os.environ | {"LLMOS_ENDPOINT": self.endpoint, "LLMOS_KEY": str(self.key())}
        command = (sys.executable, "-m", "llmos.apps.llmosctl", *arguments)
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=START_SECONDS
        )

    def family(self) -> list[psutil.Process]:
        """Every OS process that it has started and that still runs."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def stop(self, apart_from: Sequence[str] = ()) -> None:
        """End it in good order; nothing may be left, apart from what its test made below these paths of the home."""
        assert self.process.poll() is None, self.log
        family = self.family()
        assert family, "a daemon has an engine and the process that engines are forked from"
        self.process.send_signal(signal.SIGTERM)
        try:
            assert self.process.wait(STOP_SECONDS) == 0, self.log
            _, alive = psutil.wait_procs(family, timeout=STOP_SECONDS)
            assert not alive, f"the daemon has ended, these have not: {alive}"
            left = {
                str(path.relative_to(self.home))
                for path in self.home.rglob("*")
                if not any(path.is_relative_to(self.home / kept) for kept in apart_from)
            }
            assert left <= KEPT, f"left in the home: {sorted(left - KEPT)}"
            assert shared_memory() <= self.shared_memory
            assert "Traceback" not in self.log, self.log
        finally:
            self.destroy()

    def kill(self) -> None:
        """End it as a crash would; what it has started ends by itself. The home stays."""
        family = self.family()
        self.process.kill()
        self.process.wait()
        _, alive = psutil.wait_procs(family, timeout=STOP_SECONDS)
        assert not alive, f"the daemon was killed, these live on: {alive}"

    def destroy(self) -> None:
        """Take away whatever is still there, home included; may be called twice."""
        if self.process.poll() is None:
            family = self.family()
            self.process.kill()
            self.process.wait()
            psutil.wait_procs(family, timeout=STOP_SECONDS)
        shutil.rmtree(self.home, ignore_errors=True)


def start_daemon(*settings: str, environment: Mapping[str, str] = MappingProxyType({})) -> Daemon:
    """Start a daemon with these `SECTION.KEY=VALUE` settings and variables; returns when its engine is ready."""
    home = Path(tempfile.mkdtemp(prefix="llmos-"))
    (home / "run").mkdir(mode=0o700)
    Keyring.open(home / "keys").create(USER, "developer")
    return start_in(home, *settings, environment=environment)


def start_in(home: Path, *settings: str, environment: Mapping[str, str] = MappingProxyType({})) -> Daemon:
    """Start a daemon in a home that is there, perhaps after another has died in it."""
    before = shared_memory()
    reader, writer = os.pipe()
    try:
        process = _launch(home, settings, environment, writer)
    finally:
        os.close(writer)
    daemon = Daemon(home, process, before)
    with os.fdopen(reader, "rb") as ready:
        said = ready.readline()
    if said != b"ready\n":
        log = daemon.log
        daemon.destroy()
        raise AssertionError(f"the daemon did not become ready:\n{log}")
    return daemon


def shared_memory() -> frozenset[str]:
    """Files in the shared memory of this machine."""
    return frozenset(os.listdir(SHARED_MEMORY)) if SHARED_MEMORY.is_dir() else frozenset()


def _launch(home: Path, settings: Sequence[str], variables: Mapping[str, str], ready: int) -> subprocess.Popen[bytes]:
    environment = {key: value for key, value in os.environ.items() if key not in ("LLMOS_HOME", "LLMOS_KEY")}
    overlays = [word for setting in settings for word in ("--set", setting)]
    with (home / "run" / "llmosd.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "llmos.kernel.boot", "--home", str(home), "--ready-fd", str(ready), *overlays],
            env=environment | dict(variables),
            pass_fds=(ready,),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
