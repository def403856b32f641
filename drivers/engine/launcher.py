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

import msgspec

from llmos.drivers.engine.channel import FRAMES, Frame
from llmos.drivers.engine.host_memory import create_host_memory
from llmos.drivers.engine.settings import EngineSettings
from llmos.drivers.engine.status import EngineStatus
from llmos.drivers.workers.channel import KernelEnd, channel_pair
from llmos.drivers.workers.conversation import Conversation
from llmos.drivers.workers.environment import model_environment
from llmos.kernel.ports.engine import EngineGone, Plan, Report

_TEMPLATE = "llmos.drivers.engine.template"
_PATIENCE = 10.0
"""Seconds that a process may take to die of SIGKILL, or the template to notice that its launcher is gone."""


class Process:
    """The kernel's end of one engine (`EngineProcess`)."""

    def __init__(self, channel: KernelEnd[Frame], status: EngineStatus) -> None:
        self._status = status
        self._conversation = Conversation[Report]("engine", channel, lambda: status.epitaph(_PATIENCE))

    @property
    def os_pid(self) -> int:
        """Its process id; 0 while the template is still importing, always known by the time of `Ready`."""
        return self._status.os_pid

    def fileno(self) -> int:
        return self._conversation.fileno()

    def submit(self, plan: Plan) -> None:
        self._conversation.submit(plan)

    def receive(self) -> Report | None:
        return self._conversation.receive()

    def kill(self) -> None:
        if not self._conversation.closed:
            self._conversation.close()
            self._status.kill(_PATIENCE)
            self._status.close()


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
        return Process(KernelEnd(ours, FRAMES), status)

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


def _environment(settings: EngineSettings) -> dict[str, str]:
    """The template's environment: no CUDA before the fork."""
    return model_environment(settings.threads) | {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
