"""Calls that the table names and that nobody performs yet: each is refused, and says so."""

from __future__ import annotations

from llmos.kernel.core.authority import Authorized
from llmos.kernel.gate.calls.handler import Handler, row
from llmos.kernel.gate.channel import Channel
from llmos.syscalls.abi.errors import NotSupported
from llmos.syscalls.abi.table import CALLS
from llmos.syscalls.abi.words import Record

GROUPS = frozenset({"mem"})


class CallsToCome:
    """Refuses them."""

    def handlers(self) -> dict[str, Handler]:
        """By the names of the calls."""
        return dict(row(call.name, call.request, self.refuse) for call in CALLS if call.group in GROUPS)

    def refuse(self, by: Authorized, request: Record, channel: Channel) -> None:
        raise NotSupported(f"{by.action} is not there yet")
