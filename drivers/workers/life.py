"""A worker's side of its channel: orders are read while others are computed, and nobody dies without a reason.

Rules: a worker ends at once, also in the middle of an order, when the kernel's end closes. Free of torch.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType

from llmos.drivers.workers.channel import Failure, send_frame

_FAILED = 1

LastWord = Callable[[BaseException], Failure]
"""What the kernel is told of what ended a worker; it may write to the log what may stand there."""


def incoming_orders(channel: Connection) -> queue.SimpleQueue[bytes]:
    """The frames that arrive from now on: a thread of its own notices the kernel's end while an order is computed."""
    frames: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read_frames, args=(channel, frames), daemon=True).start()
    return frames


def _read_frames(channel: Connection, frames: queue.SimpleQueue[bytes]) -> None:
    try:
        while True:
            frames.put(channel.recv_bytes())
    except (EOFError, OSError):
        os._exit(0)


class LastWords:
    """Whatever ends the process inside it is told to the kernel first."""

    def __init__(self, channel: Connection, word: LastWord) -> None:
        self._channel = channel
        self._word = word

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            os._exit(0)
        with contextlib.suppress(OSError):
            send_frame(self._channel, self._word(error))
        os._exit(_FAILED)
