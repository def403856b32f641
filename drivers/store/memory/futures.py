"""Steps in different threads, one after the other, as one future."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

First = TypeVar("First")
Second = TypeVar("Second")


def then(first: Future[First], step: Callable[[First], Future[Second]]) -> Future[Second]:
    """What the second step gives; it begins, in the first one's thread, when that is done. Errors of both are its."""
    whole: Future[Second] = Future()

    def second_done(second: Future[Second]) -> None:
        if (error := second.exception()) is not None:
            whole.set_exception(error)
        else:
            whole.set_result(second.result())

    def first_done(first: Future[First]) -> None:
        if (error := first.exception()) is not None:
            whole.set_exception(error)
            return
        try:
            second = step(first.result())
        except BaseException as error:  # noqa: BLE001 (whoever waits for the future gets it, whatever it is)
            whole.set_exception(error)
        else:
            second.add_done_callback(second_done)

    first.add_done_callback(first_done)
    return whole


def done(result: First) -> Future[First]:
    """A future that is done."""
    future: Future[First] = Future()
    future.set_result(result)
    return future
