"""The encoder's process: `python -m llmos.drivers.encoder.worker CHANNEL`. Load the model, say ready, carry out orders.

Rules: the process ends at once, also in the middle of an order, when the kernel's end of the channel closes; it gives a
reason before dying by itself. Texts never go to a log.
"""

from __future__ import annotations

import signal
import sys
import traceback
from multiprocessing.connection import Connection
from typing import NoReturn

from llmos.drivers.encoder.channel import decode_order, receive_settings
from llmos.drivers.encoder.description import Unsupported
from llmos.drivers.workers.channel import Failure, send_frame
from llmos.drivers.workers.life import LastWords, incoming_orders


def main(arguments: list[str]) -> None:
    """The whole life of an encoder's process. Does not return."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = Connection(int(arguments[0]))
    with LastWords(channel, _last_word):
        _serve(channel)


def _serve(channel: Connection) -> NoReturn:
    settings = receive_settings(channel)
    orders = incoming_orders(channel)
    from llmos.drivers.encoder.encoder import load_encoder

    encoder, ready = load_encoder(settings)
    send_frame(channel, ready)
    while True:
        send_frame(channel, encoder.run(decode_order(orders.get())))


def _last_word(error: BaseException) -> Failure:
    """Errors may quote texts, so only where it happened goes to the log."""
    if isinstance(error, Unsupported):
        return Failure(str(error), True)
    traceback.print_tb(error.__traceback__)
    return Failure(f"{type(error).__name__} in the encoder; its place is in the log", False)


if __name__ == "__main__":
    main(sys.argv[1:])
