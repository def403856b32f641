"""An engine that a test may stop: a `dockerd` of its own, with all that belongs to it in a temporary folder."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import docker
import psutil
import pytest

from tests.docker.engine import TestEngine

SECONDS = 30.0
_LOOKED = 0.1


@dataclass(slots=True)
class OwnEngine:
    """One that runs, or does not. `base` is the image to build on; `process` the engine's daemon."""

    folder: Path
    base: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Its socket."""
        return f"unix://{self.folder}/socket"

    def start(self) -> TestEngine:
        """Begin it; it answers when this returns."""
        command = ["dockerd", "--data-root", f"{self.folder}/data", "--exec-root", f"{self.folder}/exec"]
        command += ["--pidfile", f"{self.folder}/pid", "--host", self.endpoint, "--bridge", "none"]
        command += ["--iptables=false", "--ip6tables=false"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        waiting = threading.Event()
        for _ in range(int(SECONDS / _LOOKED)):
            if self._listens():
                client = docker.APIClient(self.endpoint, version="auto")
                return TestEngine(client, self.base, frozenset(client.info()["Runtimes"]))
            waiting.wait(_LOOKED)
        pytest.skip(f"no second engine can be started here: {(self.folder / 'log').read_text()[-300:]}")

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(f"{self.folder}/socket") == 0

    def stop(self) -> None:
        """End it in good order."""
        process, self.process = self.process, None
        if process is not None:
            process.terminate()
            process.wait(SECONDS)

    def destroy(self) -> None:
        """End it and whatever it has started."""
        self.stop()
        family = [one for one in psutil.process_iter(["cmdline"]) if str(self.folder) in str(one.info["cmdline"])]
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=SECONDS)


@contextmanager
def own_engine(engine: TestEngine) -> Iterator[tuple[OwnEngine, TestEngine]]:
    """A second engine that has the image to build on of the first one."""
    if os.getuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip("only root can start a second engine, where dockerd is installed")
    folder = Path(tempfile.mkdtemp(prefix="llmos-engine-"))
    own = OwnEngine(folder, engine.base)
    try:
        started = own.start()
        _copy_base(engine, started, folder)
        yield own, started
    finally:
        own.destroy()
        _unmount(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _copy_base(engine: TestEngine, other: TestEngine, folder: Path) -> None:
    made = engine.client.create_container(engine.base, ["true"])
    try:
        with (folder / "base").open("wb") as file:
            for piece in engine.client.export(made["Id"]):
                file.write(piece)
    finally:
        engine.client.remove_container(made["Id"], force=True)
    name, _, tag = engine.base.rpartition(":")
    other.client.import_image(str(folder / "base"), repository=name, tag=tag)
    (folder / "base").unlink()


def _unmount(folder: Path) -> None:
    places = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for place in sorted(places, reverse=True):
        if Path(place).is_relative_to(folder):
            subprocess.run(["umount", place], check=False, capture_output=True)
