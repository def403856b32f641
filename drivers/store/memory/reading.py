"""What reads memory: single versions, lists and histories. Each function is the work of one transaction."""

from __future__ import annotations

from dataclasses import dataclass

import apsw

from llmos.drivers.store.memory.fetching import Row, fetch, numbers
from llmos.drivers.store.memory.filters import condition_of, in_space
from llmos.drivers.store.memory.lineage import note_readings
from llmos.drivers.store.memory.rows import Found, find, find_space, require_item, version_of
from llmos.kernel.ports.memory import Context, Usage
from llmos.syscalls.abi.errors import InvalidArgument, NotFound
from llmos.syscalls.abi.memory import Filter, MemoryRecord, MemoryRecords, MemoryVersions

ANSWER_BYTES = 4 << 20
"""Text in one answer, about; what is longer is given in several."""


class _Total(Row, frozen=True):
    items: int
    versions: int
    bytes: int
    unembedded: int


def get(
    connection: apsw.Connection, namespace: str, id: str, version: int | None, context: Context | None, now: float
) -> MemoryRecord:
    """One version; a context that reads it is noted."""
    item = require_item(connection, namespace, id, now)
    found = version_of(connection, item, version)
    if found is None:
        raise NotFound(f"the item {id!r} has no version {version}; the latest is {item.number}", "llmosctl mem history")
    if context is not None:
        note_readings(connection, context, (found.revision,), now)
    return found.record


def list_items(
    connection: apsw.Connection, namespace: str, where: tuple[Filter, ...], limit: int, after: str | None, now: float
) -> MemoryRecords:
    """Items in the order of their making, after one of them."""
    space = find_space(connection, namespace)
    if space is None and after is None:
        return MemoryRecords(())
    first = 0 if after is None else _place_of(connection, namespace, after)
    assert space is not None
    condition = in_space(space.id, condition_of(connection, space.id, where, now))
    rest = f"v.revision = i.latest and i.id > ? and {condition.sql} order by i.id limit ?"
    page = _page(find(connection, rest, (first, *condition.bindings, limit + 1)), limit)
    return MemoryRecords(page.records, page.records[-1].id if page.more else None)


def history(
    connection: apsw.Connection, namespace: str, id: str, limit: int, after: int | None, now: float
) -> MemoryVersions:
    """Versions of one item, latest first, before one of them."""
    item = require_item(connection, namespace, id, now)
    before = item.number + 1 if after is None else after
    rest = "v.item = ? and v.number < ? order by v.number desc limit ?"
    page = _page(find(connection, rest, (item.id, before, limit + 1)), limit)
    return MemoryVersions(page.records, page.records[-1].version if page.more else None)


def usage(connection: apsw.Connection, index_bytes: int) -> Usage:
    """What all owners have together."""
    (total,) = fetch(
        connection,
        _Total,
        "select coalesce(sum(items), 0), coalesce(sum(versions), 0), coalesce(sum(bytes), 0), "
        "(select count(*) from unembedded) from owners",
    )
    return Usage(total.items, total.versions, total.bytes, total.unembedded, index_bytes)


def _place_of(connection: apsw.Connection, namespace: str, id: str) -> int:
    found = numbers(
        connection,
        "select i.id from items i join spaces s on s.id = i.space where s.name = ? and i.name = ?",
        (namespace, id),
    )
    if not found:
        raise InvalidArgument(
            f"the list cannot go on after {id!r}: the namespace {namespace} has no such item (any more)",
            "list from the start",
        )
    return found[0]


@dataclass(frozen=True, slots=True)
class _Page:
    """Never empty when there are `more`."""

    records: tuple[MemoryRecord, ...]
    more: bool


def _page(found: list[Found], limit: int) -> _Page:
    """As many as fit into one answer."""
    records: list[MemoryRecord] = []
    size = 0
    for record in (one.record for one in found):
        size += len(record.text)
        if len(records) == limit or (records and size > ANSWER_BYTES):
            return _Page(tuple(records), True)
        records.append(record)
    return _Page(tuple(records), False)
