"""What becomes of an engine, told by the template that is its parent: its pid, later how it ended. Free of
torch.

Each engine has a pipe of its own for it, on which the template writes two numbers.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import time
from select import POLLIN, poll

_NUMBER = struct.Struct("<i")


def announce(descriptor: int, number: int) -> None:
    """Write one number; that nobody reads any more is no concern of the writer."""
    try:
        os.write(descriptor, _NUMBER.pack(number))
    except BrokenPipeError:
        return


class EngineStatus:
    """The reading end of one engine's status pipe."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        # Unlike `select`, it takes descriptors of any number.
        self._news = poll()
        self._news.register(descriptor, POLLIN)
        self._numbers: list[int] = []
        self._ended = False

    @classmethod
    def create(cls) -> tuple[EngineStatus, int]:
        """A new one, and the descriptor of the writing end."""
        reading, writing = os.pipe()
        return cls(reading), writing

    @property
    def os_pid(self) -> int:
        """The engine's process id, 0 while it is not forked."""
        self._read(0.0)
        return self._numbers[0] if self._numbers else 0

    def epitaph(self, patience: float) -> str:
        """How it ended, in words; waits up to `patience` seconds for the template to say."""
        self._read(patience)
        if len(self._numbers) < 2:
            return "its end is unknown, because the template that it was forked from is gone too"
        code = self._numbers[1]
        return f"killed by signal {-code}" if code < 0 else f"exited with status {code}"

    def kill(self, patience: float) -> None:
        """SIGKILL, unless it is dead already, and wait until the template has reaped it.

        One that is not forked yet will not be: the template looks first whether the channel is still open.
        """
        os_pid = self.os_pid
        if os_pid == 0 or self._ended:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(os_pid, signal.SIGKILL)
        self._read(patience)

    def close(self) -> None:
        os.close(self._descriptor)

    def _read(self, patience: float) -> None:
        """Take in what was announced, for up to `patience` seconds or until there is nothing more to come."""
        deadline = time.monotonic() + patience
        while not self._ended and self._news.poll(max(0.0, deadline - time.monotonic()) * 1000):
            data = os.read(self._descriptor, _NUMBER.size)
            if data:
                self._numbers.append(_NUMBER.unpack(data)[0])
            self._ended = not data or len(self._numbers) == 2
