"""Starts encoders for the kernel and talks to them. Free of torch.

An encoder is a fresh interpreter, not a fork: torch alone is imported in a second or two, so no process with the
modules in it has to be kept. Rules: an encoder dies with the kernel's end of its channel; nothing is left after `kill`.
"""

from __future__ import annotations

import subprocess
import sys

from llmos.drivers.encoder.channel import FRAMES, Frame
from llmos.drivers.encoder.settings import EncoderSettings
from llmos.drivers.workers.channel import KernelEnd, channel_pair
from llmos.drivers.workers.conversation import Conversation
from llmos.drivers.workers.environment import model_environment
from llmos.kernel.ports.encoder import EncodeOrder, EncoderReport
from llmos.kernel.ports.engine import EngineGone

_WORKER = "llmos.drivers.encoder.worker"
_PATIENCE = 10.0
"""Seconds that an encoder may take to die when its channel is closed or it was told to."""


class Process:
    """The kernel's end of one encoder (`EncoderProcess`)."""

    def __init__(self, channel: KernelEnd[Frame], process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._conversation = Conversation[EncoderReport]("encoder", channel, self._epitaph)

    @property
    def os_pid(self) -> int:
        return self._process.pid

    def fileno(self) -> int:
        return self._conversation.fileno()

    def submit(self, order: EncodeOrder, /) -> None:
        self._conversation.submit(order)

    def receive(self) -> EncoderReport | None:
        return self._conversation.receive()

    def kill(self) -> None:
        if not self._conversation.closed:
            self._conversation.close()
            self._process.kill()
            self._process.wait(_PATIENCE)

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
                env=model_environment(self._settings.threads),
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise EngineGone(f"no encoder can be started: {error.strerror}") from error
        finally:
            theirs.close()
        channel = KernelEnd(ours, FRAMES)
        encoder = Process(channel, process)
        try:
            channel.send(self._settings)
        except OSError as error:
            encoder.kill()
            raise EngineGone("the encoder ended as soon as it was started; its reason is in the log") from error
        return encoder

    def close(self) -> None:
        """Encoders share nothing."""
