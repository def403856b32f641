"""Lineage: which context read which version, and what came of it.

A context has read a version from the reading on, so whatever its process writes later counts as derived from it, until
the item is forgotten. Children that are forked have read what their parent had. Dropping tokens from a context takes
nothing back: what it has led to is there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import apsw

from llmos.drivers.store.memory.fetching import Row, fetch, numbers
from llmos.kernel.ports.memory import Context, ContextTrace, ItemTrace, Trace
from llmos.syscalls.abi.words import Pid


@dataclass(frozen=True, slots=True)
class Numbered:
    """One version of one item."""

    item: int
    number: int


def note_readings(connection: apsw.Connection, context: Context, read: Iterable[int], now: float) -> None:
    """The context has read these revisions; the first time counts."""
    _enter(connection, context)
    connection.executemany(
        f"insert or ignore into readings(item, number, pid, at, mark) "
        f"select item, number, ?, ?, ({_MARK}) from versions where revision = ?",
        [(context.pid, now, revision) for revision in read],
    )


def inherit(connection: apsw.Connection, parent: Pid, children: tuple[Context, ...], now: float) -> None:
    """The children have read what their parent has."""
    for child in children:
        _enter(connection, child)
        connection.execute(
            f"insert or ignore into readings(item, number, pid, at, mark) "
            f"select item, number, ?, ?, ({_MARK}) from readings where pid = ?",
            (child.pid, now, parent),
        )


def readers(connection: apsw.Connection) -> set[int]:
    """Contexts that have read anything."""
    return set(numbers(connection, "select distinct pid from readings"))


def traces(connection: apsw.Connection, taken: list[Numbered]) -> tuple[Trace, ...]:
    """What was derived from these versions, directly or through others, oldest first."""
    search = _Search(connection, taken)
    search.run()
    return tuple(sorted(search.found, key=lambda trace: trace.at))


_MARK = "select seq from sqlite_sequence where name = 'versions'"
"""The last revision that was written so far."""


class _Reading(Row, frozen=True):
    pid: int
    at: float
    mark: int
    principal: str
    tenant: str


class _Written(Row, frozen=True):
    item: int
    number: int
    at: float
    namespace: str
    id: str


class _Search:
    """Follows readings to contexts, and contexts to what they wrote after them."""

    def __init__(self, connection: apsw.Connection, taken: list[Numbered]) -> None:
        self.found: list[Trace] = []
        self._connection = connection
        self._seen = set(taken)
        self._open = deque(taken)
        self._marks: dict[int, int] = {}
        """Of each context that was reached: what it wrote after this revision is derived."""

    def run(self) -> None:
        while self._open:
            self._readers(self._open.popleft())

    def _readers(self, version: Numbered) -> None:
        rows = fetch(
            self._connection,
            _Reading,
            "select r.pid, r.at, r.mark, c.principal, c.tenant from readings r join contexts c on c.pid = r.pid "
            "where r.item = ? and r.number = ? order by r.mark",
            (version.item, version.number),
        )
        for row in rows:
            known = self._marks.get(row.pid)
            if known is None:
                context = Context(Pid(row.pid), row.principal, row.tenant)
                self.found.append(ContextTrace(context, version.number, row.at))
            if known is None or row.mark < known:
                self._marks[row.pid] = row.mark
                self._written(row.pid, row.mark)

    def _written(self, pid: int, mark: int) -> None:
        rows = fetch(
            self._connection,
            _Written,
            "select v.item, v.number, v.at, s.name, i.name from versions v join items i on i.id = v.item "
            "join spaces s on s.id = i.space where v.source = ? and v.revision > ?",
            (pid, mark),
        )
        for row in rows:
            version = Numbered(row.item, row.number)
            if version not in self._seen:
                self._seen.add(version)
                self._open.append(version)
                self.found.append(ItemTrace(row.namespace, row.id, row.number, row.at))


def _enter(connection: apsw.Connection, context: Context) -> None:
    connection.execute(
        "insert or ignore into contexts(pid, principal, tenant) values(?, ?, ?)",
        (context.pid, context.principal, context.tenant),
    )
