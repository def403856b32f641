"""A daemon of the demo's own: a home that is made for it and removed with it, started and stopped as anybody would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType


class DaemonFailed(Exception):
    """llmosctl could not do it; the text is what it said."""


class Daemon:
    """`llmosctl up` at the beginning, `llmosctl down` at the end. `home` is where it lives."""

    def __init__(self, settings: tuple[str, ...]) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="llmos-"))
        self._settings = settings

    def __enter__(self) -> Daemon:
        try:
            self.control("up", *(word for setting in self._settings for word in ("--set", setting)))
        except DaemonFailed:
            shutil.rmtree(self.home)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.control("down")
        finally:
            shutil.rmtree(self.home)

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"ipc://{self.home}/run/kernel.sock"

    @property
    def key(self) -> Path:
        """The key of its administrator."""
        return self.home / "keys" / "admin.key"

    def control(self, *arguments: str) -> str:
        """What `llmosctl` prints for this home. Raises `DaemonFailed`."""
        command = (sys.executable, "-m", "llmos.apps.llmosctl", *arguments, "--home", str(self.home))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LLMOS_KEY")}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if done.returncode != 0:
            raise DaemonFailed(f"llmosctl {arguments[0]}: {done.stderr.strip()}")
        return done.stdout
