"""Work beside the loop, by a bounded number of threads, in lanes: in a lane one thing is done after another, in order.

It does not know what is done. Rules: whoever enters a lane has it until he leaves it; who waits in one holds up no
other. Everything but the work itself belongs to the thread of the loop. An abi error of the work goes to whoever asked
for it; anything else is a bug and reaches the loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from llmos.syscalls.abi.errors import Error

Result = TypeVar("Result")

Leave = Callable[[], None]
Turn = Callable[[Leave], None]
"""What begins when the lane is free; it calls what it is given when it is done."""


class Lanes:
    """The threads, and who waits."""

    def __init__(self, loop: asyncio.AbstractEventLoop, threads: int, name: str) -> None:
        self._loop = loop
        self._threads = ThreadPoolExecutor(threads, name)
        self._waiting: dict[Hashable, deque[Turn]] = {}

    def enter(self, lane: Hashable, turn: Turn) -> None:
        """Begin when everything before it in the lane is done."""
        waiting = self._waiting.get(lane)
        if waiting is not None:
            waiting.append(turn)
            return
        self._waiting[lane] = deque()
        turn(lambda: self._next(lane))

    def work(self, work: Callable[[], Result], then: Callable[[Result], None], failed: Callable[[Error], None]) -> None:
        """Do something in a thread, then one of the others in the loop."""

        def done(future: asyncio.Future[Result]) -> None:
            if future.cancelled():
                return  # the daemon ends
            try:
                result = future.result()
            except Error as error:
                failed(error)
            else:
                then(result)

        self._loop.run_in_executor(self._threads, work).add_done_callback(done)

    def perform(
        self,
        lane: Hashable,
        work: Callable[[], Result],
        then: Callable[[Result], None],
        failed: Callable[[Error], None],
    ) -> None:
        """Enter the lane, work, leave it, and say so."""

        def turn(leave: Leave) -> None:
            def good(result: Result) -> None:
                leave()
                then(result)

            def bad(error: Error) -> None:
                leave()
                failed(error)

            self.work(work, good, bad)

        self.enter(lane, turn)

    def close(self) -> None:
        """Finish what is under way; nothing that waits begins any more."""
        self._threads.shutdown(cancel_futures=True)

    def _next(self, lane: Hashable) -> None:
        waiting = self._waiting[lane]
        if waiting:
            # In a turn of the loop of its own: what ends at once must not nest.
            self._loop.call_soon(waiting.popleft(), lambda: self._next(lane))
        else:
            del self._waiting[lane]
