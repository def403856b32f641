"""Rows of items and versions, as records, and how they are found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import apsw
import msgspec

from llmos.drivers.store.memory.fetching import Row, fetch
from llmos.drivers.store.memory.filters import Binding, Condition, among
from llmos.syscalls.abi.errors import NotFound
from llmos.syscalls.abi.memory import MemoryRecord, Scalar, Trust

COLUMNS = (
    "v.revision, i.name, s.name, v.number, v.text, v.metadata, v.author, v.trust, i.created, v.at, v.source, i.expires"
)
TABLES = "versions v join items i on i.id = v.item join spaces s on s.id = i.space"


class VersionRow(Row, frozen=True):
    """A row of `COLUMNS`."""

    revision: int
    id: str
    namespace: str
    number: int
    text: str
    metadata: str
    author: str
    trust: Trust
    created: float
    at: float
    source: int | None
    expires: float | None


class Space(Row, frozen=True):
    """A namespace that has or had items."""

    id: int
    name: str
    owner: str


class Item(Row, frozen=True):
    """An item that has not expired; `latest` is its latest revision, `number` that one's."""

    id: int
    latest: int
    number: int
    expires: float | None


@dataclass(frozen=True, slots=True)
class Found:
    """A version as a record, and its revision."""

    revision: int
    record: MemoryRecord


_METADATA = msgspec.json.Decoder(dict[str, Scalar])


def encode_metadata(metadata: Mapping[str, Scalar]) -> str:
    """Metadata as it is kept."""
    return msgspec.json.encode(metadata).decode()


def find(connection: apsw.Connection, rest: str, bindings: tuple[Binding, ...]) -> list[Found]:
    """The versions of `TABLES` that `rest` of the statement leaves."""
    rows = fetch(connection, VersionRow, f"select {COLUMNS} from {TABLES} where {rest}", bindings)
    return [_found(row) for row in rows]


def _found(row: VersionRow) -> Found:
    record = MemoryRecord(
        id=row.id,
        namespace=row.namespace,
        version=row.number,
        text=row.text,
        metadata=_METADATA.decode(row.metadata),
        author=row.author,
        trust=row.trust,
        created=row.created,
        updated=row.at,
        source=row.source,
        expires=row.expires,
    )
    return Found(row.revision, record)


def owner_of(namespace: str) -> str:
    """Whose a namespace is."""
    return namespace.rpartition("/")[0]


def find_space(connection: apsw.Connection, namespace: str) -> Space | None:
    """A namespace by its name."""
    found = fetch(connection, Space, "select id, name, owner from spaces where name = ?", (namespace,))
    return found[0] if found else None


def make_space(connection: apsw.Connection, namespace: str) -> Space:
    """A namespace, made if it is not there."""
    connection.execute("insert or ignore into spaces(name, owner) values(?, ?)", (namespace, owner_of(namespace)))
    space = find_space(connection, namespace)
    assert space is not None
    return space


def find_item(connection: apsw.Connection, space: Space, id: str, now: float) -> Item | None:
    """An item that has not expired."""
    found = fetch(
        connection,
        Item,
        "select i.id, i.latest, v.number, i.expires from items i join versions v on v.revision = i.latest "
        "where i.space = ? and i.name = ? and (i.expires is null or i.expires > ?)",
        (space.id, id, now),
    )
    return found[0] if found else None


def require_item(connection: apsw.Connection, namespace: str, id: str, now: float) -> Item:
    """An item that has not expired. Raises `NotFound`."""
    space = find_space(connection, namespace)
    item = find_item(connection, space, id, now) if space is not None else None
    if item is None:
        raise no_item(namespace, id)
    return item


def no_item(namespace: str, id: str) -> NotFound:
    """There is no such item, or none any more."""
    return NotFound(f"the namespace {namespace} has no item {id!r}", "llmosctl mem list")


def version_of(connection: apsw.Connection, item: Item, number: int | None) -> Found | None:
    """One version of an item, the latest if no number is given."""
    number = item.number if number is None else number
    found = find(connection, "v.item = ? and v.number = ?", (item.id, number))
    return found[0] if found else None


def load(connection: apsw.Connection, revisions: list[int], condition: Condition) -> list[Found]:
    """Those of the revisions that are the latest of their items and fit, in the order that was given."""
    wanted = among(revisions)
    rest = f"v.revision = i.latest and {wanted.sql} and {condition.sql}"
    found = {one.revision: one for one in find(connection, rest, (*wanted.bindings, *condition.bindings))}
    return [found[revision] for revision in revisions if revision in found]
