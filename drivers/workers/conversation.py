"""What the kernel says to a worker and hears of it; what breaks it is an exception of the port, with the reason.

It does not know what orders and reports mean, nor how the worker's process is started and ended. Rule: only a worker
that closed its channel is waited for, because it is about to be dead and then says how.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from llmos.drivers.workers.channel import Failure, Garbled, KernelEnd
from llmos.kernel.ports.engine import EngineGone, EngineRefused, Message

Report = TypeVar("Report")


class Conversation(Generic[Report]):
    """The kernel's side of one channel. Used by one thread."""

    def __init__(self, name: str, channel: KernelEnd[Report | Failure], epitaph: Callable[[], str]) -> None:
        """`name` says in errors what the worker is; `epitaph` waits for its death and says in words how it died."""
        self._name = name
        self._channel = channel
        self._epitaph = epitaph

    def fileno(self) -> int:
        """Readable when `receive` has something to say; -1 when it is closed."""
        return self._channel.fileno()

    @property
    def closed(self) -> bool:
        """Whether it was ended from this side."""
        return self._channel.fileno() < 0

    def close(self) -> None:
        """End it; the worker leaves. May be called twice."""
        self._channel.close()

    def submit(self, order: Message) -> None:
        """Queue an order. Raises `EngineGone`."""
        self._check_open()
        try:
            self._channel.send(order)
        except TimeoutError as error:
            raise EngineGone(f"the {self._name} hangs: {error}") from error
        except OSError as error:
            raise EngineGone(f"the {self._name} is gone: {self._farewell()}") from error

    def receive(self) -> Report | None:
        """The next report, or None when none has arrived whole. Raises `EngineGone`, `EngineRefused` for good."""
        self._check_open()
        try:
            frame = self._channel.receive()
        except Garbled as error:
            raise EngineGone(f"the {self._name} writes {error}") from error
        except (EOFError, OSError) as error:
            raise EngineGone(f"the {self._name} is gone: {self._epitaph()}") from error
        if isinstance(frame, Failure):
            raise EngineRefused(frame.message) if frame.refused else EngineGone(frame.message)
        return frame

    def _check_open(self) -> None:
        if self.closed:
            raise EngineGone(f"the {self._name} was killed")

    def _farewell(self) -> str:
        """Why a broken channel broke: the worker's own last words when they are still in it, else how it ended."""
        try:
            while (frame := self._channel.receive()) is not None:
                if isinstance(frame, Failure):
                    return frame.message
        except (EOFError, OSError, Garbled):
            pass
        return self._epitaph()
