"""The encoder's process: `python -m llmos.drivers.encoder.worker CHANNEL`. Load the model, say ready, carry out orders.

Rules: the process ends at once, also in the middle of an order, when the kernel's end of the channel closes; it gives a
reason before dying by itself. Texts never go to a log.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from types import TracebackType
from typing import NoReturn

from llmos.drivers.encoder.channel import Failure, decode_order, receive_settings, send_frame
from llmos.drivers.encoder.description import Unsupported

_FAILED = 1


def main(arguments: list[str]) -> None:
    """The whole life of an encoder's process. Does not return."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = Connection(int(arguments[0]))
    with _LastWords(channel):
        _serve(channel)


def _serve(channel: Connection) -> NoReturn:
    settings = receive_settings(channel)
    frames: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read_frames, args=(channel, frames), daemon=True).start()
    from llmos.drivers.encoder.encoder import load_encoder

    encoder, ready = load_encoder(settings)
    send_frame(channel, ready)
    while True:
        send_frame(channel, encoder.run(decode_order(frames.get())))


def _read_frames(channel: Connection, frames: queue.SimpleQueue[bytes]) -> None:
    """Hand frames over; a thread of its own notices the kernel's end even while an order is computed."""
    try:
        while True:
            frames.put(channel.recv_bytes())
    except (EOFError, OSError):
        os._exit(0)


class _LastWords:
    """Whatever ends the process inside it is told to the kernel first."""

    def __init__(self, channel: Connection) -> None:
        self._channel = channel

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        refused = isinstance(error, Unsupported)
        if not refused:
            traceback.print_tb(trace)
        message = str(error) if refused else f"{type(error).__name__} in the encoder; its place is in the log"
        with contextlib.suppress(OSError):
            send_frame(self._channel, Failure(message, refused))
        os._exit(_FAILED)


if __name__ == "__main__":
    main(sys.argv[1:])
