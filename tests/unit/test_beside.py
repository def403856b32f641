"""Calls whose work is done beside the loop: it is done also when the client has left, and then nothing is left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from llmos.kernel.gate.calls.audits import AuditCalls
from llmos.kernel.gate.calls.beside import Reader, in_loop
from llmos.kernel.gate.channel import Channel, Ending
from llmos.kernel.security.audit.log import AuditLog
from llmos.syscalls.abi import messages as m
from llmos.syscalls.abi import security as s
from llmos.syscalls.abi.errors import Error
from llmos.syscalls.abi.words import Record
from tests.unit.test_membrane import CHIEF, ROOT, ask, membrane

PATIENCE = 10


class Outlet:
    """Keeps what leaves."""

    def __init__(self) -> None:
        self.replies: list[Record] = []

    def reply(self, record: Record) -> None:
        self.replies.append(record)

    def fail(self, error: Error) -> None:
        raise error

    def event(self, record: Record) -> None:
        self.replies.append(record)


def test_what_was_done_is_followed_up_also_when_the_client_has_left() -> None:
    outlet, noted = Outlet(), asyncio.Event()
    channel, goes_on = Channel(outlet), asyncio.Event()

    async def work() -> m.Done:
        await goes_on.wait()
        return m.Done()

    def then(result: m.Done) -> None:
        noted.set()
        channel.reply(result)

    async def leave() -> None:
        in_loop(asyncio.get_running_loop(), work(), then, channel)
        channel.end(Ending.GONE)
        goes_on.set()
        await asyncio.wait_for(noted.wait(), PATIENCE)

    asyncio.run(leave())
    assert not outlet.replies


class WatchedLog(AuditLog):
    """Counts who waits until something more is written."""

    waiting = 0

    def when_written(self, callback: Callable[[], None]) -> Callable[[], None]:
        self.waiting += 1
        return super().when_written(callback)


@pytest.mark.parametrize("leaves", [True, False])
def test_a_reader_that_left_while_it_was_read_for_waits_for_nothing(tmp_path: Path, leaves: bool) -> None:
    gate = membrane()
    request = s.ReadAudit(tenant="system", kinds=("key",), wait=60.0)

    async def look() -> int:
        loop, channel, read = asyncio.get_running_loop(), Channel(Outlet()), asyncio.Event()
        log = WatchedLog.open(loop, tmp_path / "audit", tmp_path)
        reader = Reader(loop, log)
        calls = AuditCalls(loop, gate, reader, tmp_path / "audit")
        calls.read(ask(gate, ROOT, "sec.audit_read", request), request, channel)
        if leaves:
            channel.end(Ending.GONE)
        # The same thread reads for this one after the other.
        chief = ask(gate, CHIEF, "sec.audit_read", s.ReadAudit(tenant="acme"))
        reader.read(chief, bool, lambda _: read.set(), Channel(Outlet()))
        await asyncio.wait_for(read.wait(), PATIENCE)
        found = log.waiting
        channel.end(Ending.GONE)
        reader.close()
        log.close()
        return found

    assert asyncio.run(look()) == (0 if leaves else 1)
