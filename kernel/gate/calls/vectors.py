"""Vectors for memory: of a text that is being written or asked for, and later of those that were written without.

It does not know how vectors are made or where they go. Rules: nobody waits for a vector longer than `PATIENCE`; what
has none is filled a few at a time, oldest first, on the kernel's own account and after everybody else; an encoder that
cannot be had is asked again at the next tick. Which texts wait is in the database, so a restart goes on with them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from llmos.kernel.core.principal import KERNEL
from llmos.kernel.ports.encoder import Embedder, Embedding
from llmos.kernel.ports.memory import MemoryFiller, Unembedded
from llmos.syscalls.abi.errors import Error, TimedOut
from llmos.syscalls.abi.words import PriorityClass

PATIENCE = 5.0
FILLED_AT_ONCE = 32
_PROBE = "which encoder is this"

Result = TypeVar("Result")
Done = Callable[[Embedding | Error], None]

log = logging.getLogger(__name__)


class Vectors:
    """Asks the encoder. Belongs to the thread of its event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, embedder: Embedder, filler: MemoryFiller) -> None:
        self._loop = loop
        self._embedder = embedder
        self._filler = filler
        self._filling = False
        self._closed = False

    @property
    def idle(self) -> bool:
        """Whether nothing is being filled."""
        return not self._filling

    def close(self) -> None:
        """Begin nothing any more."""
        self._closed = True

    def of_text(self, text: str, principal: str, priority: PriorityClass, done: Done) -> Callable[[], None]:
        """The vector of a text, or why there is none, once; from the loop. Returns how to take that back."""
        asked = _Asked(self._loop, done)
        try:
            asked.begin(self._embedder.embed([text], principal, priority, asked.answered))
        except Error as error:
            asked.refused(error)
        return asked.take_back

    def probe(self) -> None:
        """Find out which encoder there is, so that what another one made is made anew; then fill."""
        if not self._closed and not self._filling:
            self._embed([], [_PROBE])

    def fill_soon(self) -> None:
        """Give vectors to what has none, until nothing waits or the encoder cannot be had."""
        if self._filling or self._closed:
            return
        self._filling = True
        self._when(self._filler.unembedded(FILLED_AT_ONCE), self._take)

    def _take(self, waiting: tuple[Unembedded, ...]) -> None:
        self._filling = False
        if waiting and not self._closed:
            self._embed([one.revision for one in waiting], [one.text for one in waiting])

    def _embed(self, revisions: list[int], texts: list[str]) -> None:
        self._filling = True
        try:
            self._embedder.embed(texts, KERNEL, PriorityClass.IDLE, lambda result: self._fill(revisions, result))
        except Error:
            self._filling = False

    def _fill(self, revisions: list[int], result: Embedding | Error) -> None:
        if isinstance(result, Error) or self._closed:
            self._filling = False
            return
        self._when(self._filler.fill(tuple(revisions), result), self._filled)

    def _filled(self, count: int) -> None:
        self._filling = False
        self.fill_soon()

    def _when(self, future: Future[Result], then: Callable[[Result], None]) -> None:
        """Go on in the loop; what the disk refuses is tried again at the next tick."""

        def done(future: asyncio.Future[Result]) -> None:
            try:
                result = future.result()
            except Error as error:
                self._filling = False
                log.warning("vectors of memory wait: %s", error.message)
            else:
                then(result)

        asyncio.wrap_future(future, loop=self._loop).add_done_callback(done)


class _Asked:
    """One text whose vector somebody waits for."""

    def __init__(self, loop: asyncio.AbstractEventLoop, done: Done) -> None:
        self._done: Done | None = done
        self._cancel: Callable[[], None] = lambda: None
        self._loop = loop
        self._timer = loop.call_later(PATIENCE, self._too_late)

    def begin(self, cancel: Callable[[], None]) -> None:
        self._cancel = cancel

    def refused(self, error: Error) -> None:
        self._loop.call_soon(self.answered, error)

    def answered(self, result: Embedding | Error) -> None:
        self._timer.cancel()
        done, self._done = self._done, None
        if done is not None:
            done(result)

    def take_back(self) -> None:
        self._done = None
        self._timer.cancel()
        self._cancel()

    def _too_late(self) -> None:
        self._cancel()
        self.answered(TimedOut(f"the encoder took longer than {PATIENCE:g} s", "try again when it has less to do"))
