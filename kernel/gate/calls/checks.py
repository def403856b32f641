"""What callers bring and takes long to check: done beside the loop, for each caller one after the other.

It does not know what is checked. Rules: one caller's checks hold up nobody else's; what waits of a caller is bounded,
also when the call was given up. What was checked is followed up also when the caller has left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from llmos.kernel.core.authority import Authorized
from llmos.kernel.gate.calls.lanes import Lanes
from llmos.kernel.gate.channel import Channel
from llmos.syscalls.abi.errors import Error, TryAgain

Result = TypeVar("Result")


class Checks:
    """Checks of one kind, of which `most` of one caller may wait, counted in `unit`. Belongs to the loop's thread."""

    def __init__(self, lanes: Lanes, most: int, unit: str) -> None:
        self._lanes = lanes
        self._most = most
        self._unit = unit
        self._waiting: Counter[str] = Counter()

    def check(
        self, by: Authorized, size: int, work: Callable[[], Result], then: Callable[[Result], None], channel: Channel
    ) -> None:
        """Do `work`, which counts as so much, then `then` in the loop; an error of either is the caller's.

        Raises `TryAgain`.
        """
        who = by.principal.name
        if self._waiting[who] + size > self._most:
            raise TryAgain(
                f"{self._waiting[who]} {self._unit} of {who} wait to be checked; the most is {self._most}",
                "when some of the calls have begun",
            )
        self._waiting[who] += size

        def good(result: Result) -> None:
            self._waiting -= Counter({who: size})
            try:
                then(result)
            except Error as error:
                channel.fail(error)

        def bad(error: Error) -> None:
            self._waiting -= Counter({who: size})
            channel.fail(error)

        self._lanes.perform(who, work, good, bad)
