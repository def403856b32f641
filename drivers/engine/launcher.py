"""Starts engines for the kernel and talks to them. Free of torch.

Engines are forked from one *template* process that has imported the heavy modules already, so that a new one
is up in the time its weights take to load. The host pool is anonymous shared memory that this side owns and
every engine maps.

Rules: an engine dies with the kernel's end of its channel, the template with the launcher; nothing is left
after `close`.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec

from llmos.drivers.engine.channel import Failure, channel_pair, receive_frame, send_plan
from llmos.drivers.engine.host_memory import create_host_memory
from llmos.drivers.engine.settings import EngineSettings
from llmos.drivers.engine.status import EngineStatus
from llmos.kernel.ports.engine import EngineGone, EngineRefused, Plan, Report

_TEMPLATE = "llmos.drivers.engine.template"
_PATIENCE = 10.0
"""Seconds that a process may take to die of SIGKILL, or the template to notice that its launcher is gone."""

_SPINS = "1000"
"""How long the threads of the linear algebra spin for each other. The default is ten times slower or worse as soon as
another process wants a core, because they spin away the time that the other thread waits for.
"""


class Process:
    """The kernel's end of one engine (`EngineProcess`)."""

    def __init__(self, channel: Connection, status: EngineStatus) -> None:
        self._channel = channel
        self._status = status

    @property
    def os_pid(self) -> int:
        """Its process id; 0 while the template is still importing, always known by the time of `Ready`."""
        return self._status.os_pid

    def fileno(self) -> int:
        return self._channel.fileno()

    def submit(self, plan: Plan) -> None:
        if self._channel.closed:
            raise EngineGone("the engine was killed")
        try:
            send_plan(self._channel, plan)
        except OSError as error:
            raise EngineGone(f"the engine is gone: {self._farewell()}") from error

    def receive(self) -> Report | None:
        if self._channel.closed:
            raise EngineGone("the engine was killed")
        try:
            frame = receive_frame(self._channel) if self._channel.poll(0) else None
        except (EOFError, OSError) as error:
            raise EngineGone(f"the engine is gone: {self._status.epitaph(_PATIENCE)}") from error
        if isinstance(frame, Failure):
            raise EngineRefused(frame.message) if frame.refused else EngineGone(frame.message)
        return frame

    def kill(self) -> None:
        if self._channel.closed:
            return
        self._channel.close()
        self._status.kill(_PATIENCE)
        self._status.close()

    def _farewell(self) -> str:
        """Why a broken channel broke: the engine's own last words when they are still in it, else how it
        ended.
        """
        try:
            while self._channel.poll(0):
                frame = receive_frame(self._channel)
                if isinstance(frame, Failure):
                    return frame.message
        except (EOFError, OSError):
            pass
        return self._status.epitaph(_PATIENCE)


class Launcher:
    """Starts engines of one model over one host pool (`EngineLauncher`)."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._host = create_host_memory(settings.host_memory)
        self._template: _Template | None = _Template(settings, self._host)

    @property
    def model(self) -> str:
        return self._settings.model

    def launch(self) -> Process:
        template = self._living_template()
        ours, theirs = channel_pair()
        status, status_end = EngineStatus.create()
        try:
            template.order(self._settings, (theirs.fileno(), status_end))
        except OSError as error:
            ours.close()
            status.close()
            raise EngineGone(f"the template that engines are forked from is gone: {error}") from error
        finally:
            theirs.close()
            os.close(status_end)
        return Process(ours, status)

    def close(self) -> None:
        if self._template is not None:
            self._template.close()
            self._template = None
            os.close(self._host)

    def _living_template(self) -> _Template:
        if self._template is None:
            raise EngineGone(f"the launcher of {self.model!r} is closed")
        if not self._template.alive():
            self._template.close()
            self._template = _Template(self._settings, self._host)
        return self._template


class _Template:
    """The process that engines are forked from: started once, told by a control socket, gone when that
    closes.
    """

    def __init__(self, settings: EngineSettings, host: int) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", _TEMPLATE, str(theirs.fileno()), str(host), settings.directory],
                pass_fds=(theirs.fileno(), host),
                stdin=subprocess.DEVNULL,
                env=_environment(settings),
                start_new_session=True,
            )

    def alive(self) -> bool:
        return self._process.poll() is None

    def order(self, settings: EngineSettings, descriptors: tuple[int, int]) -> None:
        """Ask for one engine that gets these descriptors: its channel and its status pipe."""
        socket.send_fds(self._control, [msgspec.msgpack.encode(settings)], list(descriptors))

    def close(self) -> None:
        self._control.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def import_environment() -> dict[str, str]:
    """An environment in which a fresh interpreter can import what this process can."""
    sources = str(Path(__file__).parents[3])
    inherited = os.environ.get("PYTHONPATH")
    return dict(os.environ) | {"PYTHONPATH": f"{sources}{os.pathsep}{inherited}" if inherited else sources}


def _environment(settings: EngineSettings) -> dict[str, str]:
    """The template's environment: never online, no CUDA before the fork, and able to import what this process can."""
    environment = import_environment()
    environment["HF_HUB_OFFLINE"] = "1"
    environment["TOKENIZERS_PARALLELISM"] = "false"
    environment["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    if "OMP_WAIT_POLICY" not in environment:
        environment.setdefault("GOMP_SPINCOUNT", _SPINS)
    if settings.threads is not None:
        environment["OMP_NUM_THREADS"] = str(settings.threads)
    return environment
