"""The engine's process: load the model, say `Ready`, run plans in order, give a reason before dying.

Everything that imports torch is imported below this module, which only the template and its children import.
Rules: the process ends at once, also in the middle of a step, when the kernel's end of the channel closes.
"""

from __future__ import annotations

import signal
import traceback
from multiprocessing.connection import Connection
from typing import NoReturn

from llmos.drivers.engine.channel import decode_plan
from llmos.drivers.engine.loading import import_model_code, load_engine
from llmos.drivers.engine.settings import EngineSettings
from llmos.drivers.engine.support import Unsupported
from llmos.drivers.workers.channel import Failure, send_frame
from llmos.drivers.workers.life import LastWords, incoming_orders


def preload(directory: str) -> None:
    """Import what loading this model needs, so that forked engines need not. A bad directory is the engine's
    to report.
    """
    import_model_code(directory)


def run_engine(settings: EngineSettings, channel: Connection, host: int) -> None:
    """The whole life of an engine's process. Does not return."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with LastWords(channel, _last_word):
        _serve(settings, channel, host)


def _serve(settings: EngineSettings, channel: Connection, host: int) -> NoReturn:
    plans = incoming_orders(channel)
    runner, ready = load_engine(settings, host)
    send_frame(channel, ready)
    while True:
        send_frame(channel, runner.run(decode_plan(plans.get())))


def _last_word(error: BaseException) -> Failure:
    if isinstance(error, Unsupported):
        return Failure(str(error), True)
    traceback.print_exception(error)
    return Failure(f"{type(error).__name__}: {error}", False)
