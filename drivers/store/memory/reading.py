"""What reads memory: single versions, lists and histories. Each function is the work of one transaction."""

from __future__ import annotations

import apsw

from llmos.drivers.store.memory.fetching import Row, fetch, numbers
from llmos.drivers.store.memory.filters import condition_of, in_space
from llmos.drivers.store.memory.lineage import note_readings
from llmos.drivers.store.memory.rows import Found, find, find_space, require_item, version_of
from llmos.kernel.ports.memory import Context, Usage
from llmos.syscalls.abi.errors import InvalidArgument, NotFound
from llmos.syscalls.abi.memory import Filter, MemoryRecord, MemoryRecords

MOST_VERSIONS = 1_000
"""Versions in one history."""

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
    return _page(find(connection, rest, (first, *condition.bindings, limit + 1)), limit)


def history(connection: apsw.Connection, namespace: str, id: str, now: float) -> MemoryRecords:
    """All versions, latest first; the oldest of very many long ones are left out, `after` then says so."""
    item = require_item(connection, namespace, id, now)
    rest = "v.item = ? order by v.number desc limit ?"
    return _page(find(connection, rest, (item.id, MOST_VERSIONS + 1)), MOST_VERSIONS)


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


def _page(found: list[Found], limit: int) -> MemoryRecords:
    """As many as fit; `after` is the last one when there are more."""
    records: list[MemoryRecord] = []
    size = 0
    for record in (one.record for one in found):
        size += len(record.text)
        if len(records) == limit or (records and size > ANSWER_BYTES):
            return MemoryRecords(tuple(records), records[-1].id)
        records.append(record)
    return MemoryRecords(tuple(records))
