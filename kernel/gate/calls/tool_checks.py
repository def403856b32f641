"""Schemas and arguments of tools that take long to check: beside the loop, and for each caller one after the other.

It does not know what is checked. Rules: one caller's checks hold up nobody else's; what waits of a caller is bounded,
also when the call was given up; a call that is over by then goes no further.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from llmos.kernel.core.authority import Authorized
from llmos.kernel.gate.calls.lanes import Lanes
from llmos.kernel.gate.channel import Channel
from llmos.syscalls.abi.errors import Error, TryAgain

MOST_WAITING = 1 << 24
"""Characters of schemas and arguments of one caller that may wait to be checked."""

THREADS = 2

Result = TypeVar("Result")


class SchemaChecks:
    """Belongs to the thread of the loop."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._waiting: Counter[str] = Counter()

    def check(
        self, by: Authorized, size: int, work: Callable[[], Result], then: Callable[[Result], None], channel: Channel
    ) -> None:
        """Do `work` on so many characters, then `then` in the loop; an error of either is the caller's.

        Raises `TryAgain`.
        """
        who = by.principal.name
        if self._waiting[who] + size > MOST_WAITING:
            raise TryAgain(
                f"{self._waiting[who]} characters of {who} wait to be checked; the most is {MOST_WAITING}",
                "when some of the calls have begun",
            )
        self._waiting[who] += size

        def good(result: Result) -> None:
            self._waiting -= Counter({who: size})
            if channel.over:
                return
            try:
                then(result)
            except Error as error:
                channel.fail(error)

        def bad(error: Error) -> None:
            self._waiting -= Counter({who: size})
            channel.fail(error)

        self._lanes.perform(who, work, good, bad)
