"""The one table of handlers: a row for each call of the abi's table, and no other way to perform one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from llmos.kernel.core.authority import Authorized
from llmos.kernel.gate.calls.handler import Handler
from llmos.kernel.gate.channel import Channel
from llmos.syscalls.abi.table import BY_NAME, Call
from llmos.syscalls.abi.words import Record


class Handlers:
    """Finds the handler of a call."""

    def __init__(self, groups: Iterable[Mapping[str, Handler]]) -> None:
        """Raises `AssertionError` when a call has no handler, or a handler no call."""
        self._rows: dict[str, Handler] = {}
        for rows in groups:
            self._rows.update(rows)
        if self._rows.keys() != BY_NAME.keys():
            raise AssertionError(
                f"calls without handler or handlers without call: {self._rows.keys() ^ BY_NAME.keys()}"
            )

    def dispatch(self, authorized: Authorized, call: Call, request: Record, channel: Channel) -> None:
        """Begin a call. Raises the abi error of a call that is refused."""
        self._rows[call.name](authorized, request, channel)
