"""Where the answers of a channel go in tests that have no wire."""

from __future__ import annotations

import asyncio

from llmos.syscalls.abi.errors import Error
from llmos.syscalls.abi.words import Record


class Outlet:
    """What was sent, and the answer to wait for."""

    def __init__(self) -> None:
        self.events: list[Record] = []
        self.answer: asyncio.Future[Record | Error] = asyncio.get_running_loop().create_future()

    def reply(self, record: Record) -> None:
        self.answer.set_result(record)

    def fail(self, error: Error) -> None:
        self.answer.set_result(error)

    def event(self, record: Record) -> None:
        self.events.append(record)
