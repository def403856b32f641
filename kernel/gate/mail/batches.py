"""The bridge between the loop and the store of messages: operations leave in batches, one batch at a time.

It does not know calls. Rules: what is handed in while a batch is being written is the next batch, so that a commit is
shared by all who wait for it, and the loop is woken once for each; operations happen in the order in which they were
handed in. A batch that fails fails all its operations with the store's error, and nothing of it has happened; then
those who wait have to look for themselves, because nobody will be told what the batch would have changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from llmos.kernel.ports.mail import BatchReport, MailStore, Operation, Outcome
from llmos.syscalls.abi.errors import DeviceError

MOST_TOGETHER = 1024
"""Operations of one batch at most, so that none waits long for others."""

_AT_LEAST_SECONDS = 0.001

Settled = Callable[[Outcome | DeviceError], None]


def always() -> bool:
    """Nothing is in the way of most operations."""
    return True


@dataclass(frozen=True, slots=True)
class Piece:
    """An operation, and who hears what became of it. One that may not leave is dropped: somebody else has it then."""

    operation: Operation
    settled: Settled
    may_leave: Callable[[], bool] = always


HandIn = Callable[[Piece], None]

Follow = Callable[[list[Piece]], list[Piece]]
"""What leaves together with a batch, behind it."""


class Batches:
    """Belongs to the loop's thread. After those whose operations were in a batch, `report` hears of it, or `lost` that
    it failed.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        store: MailStore,
        clock: Callable[[], float],
        follow: Follow,
        report: Callable[[BatchReport], None],
        lost: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._store = store
        self._clock = clock
        self._follow = follow
        self._report = report
        self._lost = lost
        self._pieces: list[Piece] = []
        self._under_way: list[Piece] | None = None
        self._leaving = False
        self._due: float | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._closed = False

    def hand_in(self, piece: Piece) -> None:
        """Do it in the next batch."""
        self._pieces.append(piece)
        self.leave_soon()

    def leave_soon(self) -> None:
        """Begin a batch in the next turn of the loop, or when the one under way is back."""
        if not self._leaving and self._under_way is None:
            self._leaving = True
            self._loop.call_soon(self._leave)

    def close(self) -> None:
        """Begin nothing any more."""
        self._closed = True
        if self._alarm is not None:
            self._alarm.cancel()

    def _leave(self) -> None:
        self._leaving = False
        if self._closed:
            return
        pieces, self._pieces = self._pieces[:MOST_TOGETHER], self._pieces[MOST_TOGETHER:]
        leaving = [piece for piece in pieces if piece.may_leave()]
        leaving += self._follow(leaving)
        self._under_way = leaving
        operations = tuple(piece.operation for piece in leaving)
        self._store.perform(operations, self._clock()).add_done_callback(self._written)

    def _written(self, future: Future[BatchReport]) -> None:
        """In the store's thread."""
        self._loop.call_soon_threadsafe(self._returned, future)

    def _returned(self, future: Future[BatchReport]) -> None:
        pieces, self._under_way = self._under_way or [], None
        if self._closed:
            return
        try:
            report = future.result()
        except DeviceError as error:
            for piece in pieces:
                piece.settled(error)
            self._lost()
        else:
            for piece, outcome in zip(pieces, report.outcomes, strict=True):
                piece.settled(outcome)
            self._report(report)
            self._watch(report.next_due)
        if self._pieces:
            self.leave_soon()

    def _watch(self, due: float | None) -> None:
        """Be back when the next lease is over."""
        if due == self._due:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._due, self._alarm = due, None
        if due is not None:
            self._alarm = self._loop.call_later(max(due - self._clock(), _AT_LEAST_SECONDS), self._ring)

    def _ring(self) -> None:
        self._due = self._alarm = None
        self.leave_soon()
