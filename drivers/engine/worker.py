"""The engine's process: load the model, say `Ready`, run plans in order, give a reason before dying.

Everything that imports torch is imported below this module, which only the template and its children import.
Rules: the process ends at once, also in the middle of a step, when the kernel's end of the channel closes.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import traceback
from multiprocessing.connection import Connection
from types import TracebackType
from typing import NoReturn

from llmos.drivers.engine.channel import Failure, decode_plan, send_frame
from llmos.drivers.engine.loading import import_model_code, load_engine
from llmos.drivers.engine.settings import EngineSettings
from llmos.drivers.engine.support import Unsupported

_FAILED = 1


def preload(directory: str) -> None:
    """Import what loading this model needs, so that forked engines need not. A bad directory is the engine's
    to report.
    """
    import_model_code(directory)


def run_engine(settings: EngineSettings, channel: Connection, host: int) -> None:
    """The whole life of an engine's process. Does not return."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with _LastWords(channel):
        _serve(settings, channel, host)


def _serve(settings: EngineSettings, channel: Connection, host: int) -> NoReturn:
    frames: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read_frames, args=(channel, frames), daemon=True).start()
    runner, ready = load_engine(settings, host)
    send_frame(channel, ready)
    while True:
        send_frame(channel, runner.run(decode_plan(frames.get())))


def _read_frames(channel: Connection, frames: queue.SimpleQueue[bytes]) -> None:
    """Hand frames over; a thread of its own notices the kernel's end even while a step is running."""
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
            traceback.print_exception(error)
        message = str(error) if refused else f"{type(error).__name__}: {error}"
        with contextlib.suppress(OSError):
            send_frame(self._channel, Failure(message, refused))
        os._exit(_FAILED)
