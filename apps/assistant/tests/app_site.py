"""The app as it runs in a container, without the container: a copy of its folder, a key with its role, pipes.

It knows the app's command line and nothing of what is inside.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import llmos
from tests.e2e.daemon_process import Daemon, start_daemon, start_in

NAME = "assistant"
FOLDER = Path(__file__).parents[1]
SETTINGS = ("engine.device=cpu", "engine.weights=exact", "engine.device_pages=128", 'engine.host_memory="256 MiB"')
PATIENCE = 240
"""Seconds, far more than anything here takes on a busy machine."""


@dataclass(slots=True)
class App:
    """One run of the app."""

    process: subprocess.Popen[bytes]

    def type(self, *lines: str) -> None:
        """Give it lines."""
        assert self.process.stdin is not None
        self.process.stdin.write("".join(f"{line}\n" for line in lines).encode())
        self.process.stdin.flush()

    def read(self, count: int) -> bytes:
        """Its next bytes."""
        assert self.process.stdout is not None
        data = b""
        while len(data) < count and (more := os.read(self.process.stdout.fileno(), count - len(data))):
            data += more
        return data

    def kill(self) -> bytes:
        """End it as a crash would; what it had shown and nobody had read."""
        self.process.kill()
        return self.end()[0]

    def end(self, number: signal.Signals | None = None) -> tuple[bytes, str, int]:
        """No more input, or a signal: the rest of its output, its errors and its status."""
        if number is not None:
            self.process.send_signal(number)
        out, errors = self.process.communicate(timeout=PATIENCE)
        return out, errors.decode(), self.process.returncode


@dataclass(slots=True)
class AppSite:
    """A daemon, the app's key, and a copy of the app that stands alone."""

    daemon: Daemon
    copy: Path
    key: Path
    rules: str

    def start(self, *arguments: str) -> App:
        """Run it; pipes are its input and output."""
        environment = {name: value for name, value in os.environ.items() if name != "LLMOS_HOME"}
        environment |= {"LLMOS_ENDPOINT": self.daemon.endpoint, "LLMOS_KEY": str(self.key)}
        environment["PYTHONPATH"] = str(self.copy)
        command = [sys.executable, "-P", "-m", NAME, *arguments]
        pipe = subprocess.PIPE
        return App(subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, cwd=self.copy))

    def say(self, session: str, *lines: str, most: int = 24) -> tuple[str, str]:
        """All that a session answers to lines, and what it says beside that. It must end well."""
        app = self.start("--session", session, "--max-tokens", str(most))
        out, errors = app.process.communicate("".join(f"{line}\n" for line in lines).encode(), PATIENCE)
        assert app.process.returncode == 0, errors.decode()
        return out.decode(), errors.decode()

    def connect(self) -> llmos.System:
        """A connection as the app."""
        return llmos.connect(self.daemon.endpoint, self.key)

    def restart_daemon(self) -> None:
        """Kill the daemon if it lives, and start one in its home."""
        if self.daemon.process.poll() is None:
            self.daemon.kill()
        self.daemon = start_in(self.daemon.home, *SETTINGS)


@contextmanager
def app_site(folder: Path) -> Iterator[AppSite]:
    """Install it as far as that needs no container."""
    shutil.copytree(FOLDER, folder / NAME, ignore=shutil.ignore_patterns("tests", "__pycache__"))
    daemon = start_daemon(*SETTINGS)
    site = AppSite(daemon, folder, folder / "app.key", "")
    try:
        with daemon.connect() as admin:
            site.rules = admin.apps.check(FOLDER).rules
            admin.policy.apply(f"app-{NAME}.csv", site.rules)
            admin.keys.create(NAME, f"app-{NAME}", kind="app", path=site.key)
        yield site
        assert not re.search("Traceback", site.daemon.log), site.daemon.log
    finally:
        site.daemon.destroy()
