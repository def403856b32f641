"""What a test does with a daemon whose apps run in containers.

Rules: the app `probe` is installed all the time and runs any program that it is given as text, so most tests build no
image. What a test installs besides is removed after it, and nothing runs when the next one begins. When the daemon
has ended, the engine must have nothing of it left.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec
import psutil

import llmos
from llmos.sandbox.containers import HOME
from llmos.syscalls.abi.apps import AppInfo, OutputStream, RunInfo, RunState
from llmos.syscalls.sdk.blocking_apps import AppRun
from tests.docker import programs
from tests.docker.engine import TestEngine
from tests.e2e.daemon_process import Daemon, start_daemon

PROBE = "probe"
QUOTA = 8 << 20
"""Bytes of files that a principal may have."""

SETTINGS = ("engine.device=cpu", "engine.device_pages=16", 'engine.host_memory="32 MiB"', f"files.quota={QUOTA}")
SOON = 5.0
"""Seconds within which a daemon answers that is not held up, on a busy machine too."""

RUNS_ANYTHING = """\
import sys

exec(compile(sys.argv.pop(1), "program", "exec"), {"__name__": "__main__"})
"""
OWN = """
[[permissions]]
object = "fs:/home/$self/**"
action = "fs.*"
[[permissions]]
object = "mem:/$self/*"
action = "mem.*"
"""

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Ran:
    """A run that has ended, and what it said."""

    out: str
    err: str
    info: RunInfo

    def answer(self, kind: type[Answer]) -> Answer:
        """The JSON document that it printed; it must have ended well."""
        assert self.info.status == 0, self
        return msgspec.json.decode(self.out, type=kind)


class Noted(msgspec.Struct, frozen=True):
    """A record of the audit log, as far as tests look at it."""

    principal: str = ""
    action: str = ""
    object: str = ""
    outcome: str = ""
    detail: str = ""
    count: int = 1


@dataclass(slots=True)
class AppHouse:
    """A daemon, as its administrator."""

    daemon: Daemon
    system: llmos.System
    engine: TestEngine
    runtime: str
    folder: Path
    installed: list[str] = field(default_factory=list)

    # --- apps

    def install(self, name: str, source: str, more: str = "") -> AppInfo:
        """Install an app whose program is this; `more` is what its manifest has besides name and version."""
        folder = self.write(name, source, more)
        self.installed.append(name)
        return self.system.apps.install(folder)

    def write(self, name: str, source: str, more: str = "") -> Path:
        """The folder of such an app."""
        return write_app(self.folder, name, source, more)

    def start(self, program: str, *arguments: str, app: str = PROBE) -> AppRun:
        """Begin a run; `program` is the text of one, or the first argument of another app than `probe`."""
        return self.system.apps.run(app, program, *arguments)

    def run(self, program: str, *arguments: str, app: str = PROBE) -> Ran:
        """The same, to its end."""
        return ended(self.start(program, *arguments, app=app))

    def info(self, app: str = PROBE) -> AppInfo:
        """How an app stands."""
        return next(one for one in self.system.apps.list() if one.name == app)

    # --- the host

    def containers(self) -> list[str]:
        """Those of this daemon that the engine has."""
        return self.engine.containers(HOME, str(self.daemon.home))

    def begun(self) -> str:
        """The container that has run longest; younger ones may be on their way to wait for a run."""
        return [one for one in self.containers() if self.engine.runs(one)][-1]

    # --- the kernel

    def audited(self, kind: str, limit: int = 1_000) -> list[Noted]:
        """The newest records of a kind."""
        return [msgspec.json.decode(line, type=Noted) for line in self.system.audit.tail(limit, kinds=(kind,)).lines]

    def check_others(self) -> None:
        """The daemon serves, and another run of an app works."""
        began = time.monotonic()
        self.system.whoami()
        assert time.monotonic() - began < SOON
        assert self.run("print('well')").out == "well\n"

    # --- tidying

    def tidy(self) -> None:
        """Nothing runs, and nothing but `probe` is installed."""
        for app in self.system.apps.list():
            if any(run.state is not RunState.ENDED for run in app.runs):
                self.system.apps.stop(app.name, grace=0)
        for name in self.installed:
            with suppress(llmos.NotFound):
                self.system.apps.remove(name)
        self.installed.clear()

    def close(self) -> None:
        """End the daemon; nothing of it may be left at the engine or in its home."""
        self.tidy()
        names = [PROBE, *(path.name for path in (self.daemon.home / "files").iterdir())]
        self.system.apps.remove(PROBE)
        self.system.close()
        self.daemon.stop(apart_from=("apps", *(f"files/{name}" for name in names), "files/.kept"))
        assert self.containers() == []
        assert self.engine.images(HOME, str(self.daemon.home)) == []


@contextmanager
def app_house(engine: TestEngine, runtime: str, *settings: str) -> Iterator[AppHouse]:
    """A daemon whose containers are of this runtime, with `probe` installed."""
    daemon = start_daemon(*SETTINGS, f"sandbox.base={engine.base}", f"sandbox.runtime={runtime}", *settings)
    folder = Path(tempfile.mkdtemp(prefix="llmos-apps-"))
    try:
        house = AppHouse(daemon, daemon.connect(), engine, runtime, folder)
        house.system.apps.install(house.write(PROBE, RUNS_ANYTHING, OWN))
        yield house
        house.close()
    finally:
        daemon.destroy()
        shutil.rmtree(folder, ignore_errors=True)
        sweep(engine, daemon.home)


def sweep(engine: TestEngine, home: Path) -> None:
    """Take away what a daemon of this home has left at the engine."""
    for container in engine.containers(HOME, str(home)):
        engine.client.remove_container(container, force=True)
    for image in engine.images(HOME, str(home)):
        engine.client.remove_image(image, force=True)


def write_app(place: Path, name: str, source: str, more: str = "") -> Path:
    """The folder of an app: its manifest, and its program in `__main__.py`."""
    folder = place / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "app.toml").write_text(f'name = "{name}"\nversion = "1.0"\n{more}', encoding="utf-8")
    (folder / "__init__.py").write_text("", encoding="utf-8")
    (folder / "__main__.py").write_text(source, encoding="utf-8")
    return folder


def ended(run: AppRun) -> Ran:
    """Everything that a run says until it has ended for good."""
    said: dict[OutputStream, bytearray] = {stream: bytearray() for stream in OutputStream}
    with run.output() as output:
        for piece in output:
            said[piece.stream] += piece.data
        info = output.result()
    return Ran(said[OutputStream.OUT].decode(), said[OutputStream.ERR].decode(), info)


def first_line(run: AppRun) -> str:
    """The first thing that a run says; it goes on."""
    with run.output() as output:
        return next(output).data.decode().strip()


def program(name: str) -> str:
    """The text of one of `programs`."""
    return (Path(str(programs.__file__)).parent / f"{name}.py").read_text(encoding="utf-8")


def processes_in(engine: TestEngine, container: str) -> list[psutil.Process]:
    """Processes of the host that run in a container; with gVisor those of its kernel. None when it has ended."""
    pid = engine.process(container)
    return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)] if pid else []
