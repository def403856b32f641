"""Answers that nobody waits for, counted, so that a connection that is closed in good order can wait for the last."""

from __future__ import annotations

from threading import Condition

from llmos.syscalls.sdk.protocol import Event

PATIENCE_SECONDS = 5.0


class Unawaited:
    """Those of one connection (an `Inbox`)."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._under_way = 0

    def expect(self) -> None:
        """One more is under way."""
        with self._changed:
            self._under_way += 1

    def put(self, event: Event) -> None:
        """One is there, in the IO thread."""
        self.forget()

    def forget(self) -> None:
        """One is not expected any more."""
        with self._changed:
            self._under_way -= 1
            self._changed.notify_all()

    def wait(self) -> None:
        """Until all are there, or for as long as that should take."""
        with self._changed:
            self._changed.wait_for(lambda: self._under_way == 0, PATIENCE_SECONDS)
