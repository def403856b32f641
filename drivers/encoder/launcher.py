"""Starts encoders for the kernel and talks to them. Free of torch.

An encoder is a fresh interpreter, not a fork: torch alone is imported in a second or two, so no process with the
modules in it has to be kept. Rules: an encoder dies with the kernel's end of its channel; nothing is left after `kill`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from llmos.drivers.encoder.channel import Failure, KernelEnd, channel_pair
from llmos.drivers.encoder.settings import EncoderSettings
from llmos.kernel.ports.encoder import EncodeOrder, EncoderReport
from llmos.kernel.ports.engine import EngineGone, EngineRefused

_WORKER = "llmos.drivers.encoder.worker"
_PATIENCE = 10.0
"""Seconds that an encoder may take to die when its channel is closed or it was told to."""

_SPINS = "1000"
"""How long the threads of the linear algebra spin for each other: they take the decoder's processors meanwhile."""


class Process:
    """The kernel's end of one encoder (`EncoderProcess`)."""

    def __init__(self, channel: KernelEnd, process: subprocess.Popen[bytes]) -> None:
        self._channel = channel
        self._process = process

    @property
    def os_pid(self) -> int:
        return self._process.pid

    def fileno(self) -> int:
        return self._channel.fileno()

    def submit(self, order: EncodeOrder, /) -> None:
        if self._closed:
            raise EngineGone("the encoder was killed")
        try:
            self._channel.send(order)
        except OSError as error:
            raise EngineGone(f"the encoder is gone: {self._farewell()}") from error

    def receive(self) -> EncoderReport | None:
        if self._closed:
            raise EngineGone("the encoder was killed")
        try:
            frame = self._channel.receive()
        except (EOFError, OSError) as error:
            raise EngineGone(f"the encoder is gone: {self._epitaph()}") from error
        if isinstance(frame, Failure):
            raise EngineRefused(frame.message) if frame.refused else EngineGone(frame.message)
        return frame

    def kill(self) -> None:
        if not self._closed:
            self._channel.close()
            self._process.kill()
            self._process.wait(_PATIENCE)

    @property
    def _closed(self) -> bool:
        return self._channel.fileno() < 0

    def _farewell(self) -> str:
        """Why a broken channel broke: the encoder's own last words when they are still in it, else how it ended."""
        try:
            while (frame := self._channel.receive()) is not None:
                if isinstance(frame, Failure):
                    return frame.message
        except (EOFError, OSError):
            pass
        return self._epitaph()

    def _epitaph(self) -> str:
        try:
            code = self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            return "it closed its channel and goes on"
        return f"killed by signal {-code}" if code < 0 else f"exited with status {code}"


class Launcher:
    """Starts encoders of one model (`EncoderLauncher`)."""

    def __init__(self, settings: EncoderSettings) -> None:
        self._settings = settings

    @property
    def model(self) -> str:
        return self._settings.model

    def launch(self) -> Process:
        ours, theirs = channel_pair()
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", _WORKER, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                env=_environment(self._settings),
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise EngineGone(f"no encoder can be started: {error.strerror}") from error
        finally:
            theirs.close()
        encoder = Process(ours, process)
        try:
            ours.send(self._settings)
        except OSError as error:
            encoder.kill()
            raise EngineGone("the encoder ended as soon as it was started; its reason is in the log") from error
        return encoder

    def close(self) -> None:
        """Encoders share nothing."""


def _environment(settings: EncoderSettings) -> dict[str, str]:
    """Never online, and able to import what this process can."""
    sources = str(Path(__file__).parents[3])
    inherited = os.environ.get("PYTHONPATH")
    environment = dict(os.environ)
    environment["PYTHONPATH"] = f"{sources}{os.pathsep}{inherited}" if inherited else sources
    environment["HF_HUB_OFFLINE"] = "1"
    environment["TOKENIZERS_PARALLELISM"] = "false"
    if "OMP_WAIT_POLICY" not in environment:
        environment.setdefault("GOMP_SPINCOUNT", _SPINS)
    if settings.threads is not None:
        environment["OMP_NUM_THREADS"] = str(settings.threads)
    return environment
