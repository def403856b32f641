"""What changes memory: each function is the work of one transaction, and says what it changed for the indexes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import apsw

from llmos.drivers.store.memory.changes import Change, Done, RevisionGone
from llmos.drivers.store.memory.fetching import Row, fetch, numbers
from llmos.drivers.store.memory.filters import condition_of, forget_facts, in_space, remember_facts
from llmos.drivers.store.memory.lineage import Numbered, traces
from llmos.drivers.store.memory.quotas import Charge, Quotas, charge, weight
from llmos.drivers.store.memory.rows import (
    Item,
    Space,
    encode_metadata,
    find_item,
    find_space,
    make_space,
    require_item,
    version_of,
)
from llmos.drivers.store.memory.vectors import copy_vector, embed_later, embed_revision, use_encoder
from llmos.drivers.store.memory.words import forget_words, index_words, words_of
from llmos.kernel.ports.encoder import Embedding
from llmos.kernel.ports.memory import Draft, TakenBack
from llmos.syscalls.abi.errors import Busy, InvalidArgument, NotFound
from llmos.syscalls.abi.memory import Filter, Forgotten, MemoryRecord

AT_ONCE = 256
"""Items that one transaction erases, so that no other writer waits long."""


@dataclass(frozen=True, slots=True)
class _Version:
    """A version that is to become the latest of its item."""

    space: Space
    item: int
    number: int
    draft: Draft


class _Whole(Row, frozen=True):
    """An item, and what all its versions are together."""

    space: int
    name: str
    owner: str
    latest: int
    versions: int
    bytes: int


def put(
    connection: apsw.Connection, draft: Draft, vector: Embedding | None, quotas: Quotas, now: float
) -> Done[MemoryRecord]:
    """Write a new item, or the next version of one."""
    gone = _erase_expired(connection, draft, now)
    space = make_space(connection, draft.namespace)
    item = find_item(connection, space, draft.id, now)
    _check_expected(draft, item)
    number, changes = 1, gone
    if item is not None:
        number, changes = item.number + 1, (*gone, _unindex(connection, space, item.latest))
    new = _Version(space, _row(connection, space, draft, item, now), number, draft)
    revision = _write(connection, new, Charge(int(item is None)), quotas, now)
    connection.execute("update items set expires = ? where id = ?", (draft.expires, new.item))
    return Done(_record(connection, new), (*changes, *_give_vector(connection, space, revision, vector)))


def rollback(
    connection: apsw.Connection, namespace: str, id: str, version: int, author: str, quotas: Quotas, now: float
) -> Done[TakenBack]:
    """Make an older version the latest."""
    item = require_item(connection, namespace, id, now)
    old = version_of(connection, item, version)
    if old is None:
        raise NotFound(f"the item {id!r} has no version {version}; the latest is {item.number}", "llmosctl mem history")
    if version == item.number:
        raise InvalidArgument(f"version {version} of the item {id!r} is the latest already", "name an older one")
    space = make_space(connection, namespace)
    draft = Draft(namespace, id, old.record.text, author, old.record.metadata, old.record.trust, item.expires)
    taken = [Numbered(item.id, number) for number in range(version + 1, item.number + 1)]
    gone = _unindex(connection, space, item.latest)
    new = _Version(space, item.id, item.number + 1, draft)
    revision = _write(connection, new, Charge(), quotas, now)
    changes = (gone, *copy_vector(connection, space.id, old.revision, revision))
    return Done(TakenBack(_record(connection, new), traces(connection, taken)), changes)


def forget(
    connection: apsw.Connection, namespace: str, id: str | None, where: tuple[Filter, ...], now: float
) -> Done[Forgotten]:
    """Erase one item, or the first `AT_ONCE` that fit."""
    space = find_space(connection, namespace)
    if id is not None:
        erased = [_erase(connection, require_item(connection, namespace, id, now).id)]
    elif space is not None:
        condition = in_space(space.id, condition_of(connection, space.id, where, now))
        items = numbers(
            connection, f"select i.id from items i where {condition.sql} limit {AT_ONCE}", condition.bindings
        )
        erased = [_erase(connection, item) for item in items]
    else:
        erased = []
    versions = sum(one.result for one in erased)
    return Done(Forgotten(len(erased), versions), tuple(chain.from_iterable(one.changes for one in erased)))


def sweep(connection: apsw.Connection, now: float) -> Done[int]:
    """Erase some of what has expired."""
    items = numbers(connection, "select id from items where expires <= ? limit ?", (now, AT_ONCE))
    erased = [_erase(connection, item) for item in items]
    return Done(len(erased), tuple(chain.from_iterable(one.changes for one in erased)))


def _check_expected(draft: Draft, item: Item | None) -> None:
    latest = 0 if item is None else item.number
    if draft.expected is not None and draft.expected != latest:
        raise Busy(
            f"the latest version of the item {draft.id!r} is {latest}, not {draft.expected}",
            "read it again, then write with the version that you have seen",
        )


def _row(connection: apsw.Connection, space: Space, draft: Draft, item: Item | None, now: float) -> int:
    """The row of the item; a new one has no version for a moment."""
    if item is not None:
        return item.id
    connection.execute("insert into items(space, name, latest, created) values(?, ?, 0, ?)", (space.id, draft.id, now))
    return connection.last_insert_rowid()


def _write(connection: apsw.Connection, new: _Version, change: Charge, quotas: Quotas, now: float) -> int:
    """Write the version, and let it be found by its words and metadata; its revision."""
    draft, metadata, words = new.draft, encode_metadata(new.draft.metadata), words_of(new.draft.text)
    size = weight(draft.text, metadata)
    charge(connection, new.space.owner, Charge(change.items, 1, size), quotas)
    source = draft.context.pid if draft.context is not None else None
    connection.execute(
        "insert into versions(item, number, text, metadata, author, trust, source, at, words, bytes) "
        "values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (new.item, new.number, draft.text, metadata, draft.author, draft.trust.value, source, now, len(words), size),
    )
    revision = connection.last_insert_rowid()
    connection.execute("update items set latest = ? where id = ?", (revision, new.item))
    connection.execute(
        "update spaces set items = items + 1, words = words + ? where id = ?", (len(words), new.space.id)
    )
    index_words(connection, new.space.id, revision, words)
    remember_facts(connection, new.space.id, revision, draft.metadata)
    return revision


def _give_vector(
    connection: apsw.Connection, space: Space, revision: int, vector: Embedding | None
) -> tuple[Change, ...]:
    if vector is None:
        embed_later(connection, revision)
        return ()
    encoder = use_encoder(connection, vector)
    return (embed_revision(connection, space.id, revision, encoder, vector.vector(0)),)


def _record(connection: apsw.Connection, new: _Version) -> MemoryRecord:
    found = version_of(connection, Item(new.item, 0, new.number, None), None)
    assert found is not None
    return found.record


def _unindex(connection: apsw.Connection, space: Space, revision: int) -> RevisionGone:
    """Let a revision not be found any more; it stays as an older version."""
    forget_words(connection, revision)
    forget_facts(connection, revision)
    connection.execute("delete from unembedded where revision = ?", (revision,))
    connection.execute(
        "update spaces set items = items - 1, words = words - (select words from versions where revision = ?) "
        "where id = ?",
        (revision, space.id),
    )
    return RevisionGone(space.id, revision)


def _erase_expired(connection: apsw.Connection, draft: Draft, now: float) -> tuple[Change, ...]:
    """An item that has expired and was not swept yet is none."""
    expired = numbers(
        connection,
        "select i.id from items i join spaces s on s.id = i.space where s.name = ? and i.name = ? and i.expires <= ?",
        (draft.namespace, draft.id, now),
    )
    return tuple(chain.from_iterable(_erase(connection, item).changes for item in expired))


def _erase(connection: apsw.Connection, item: int) -> Done[int]:
    """Take an item away with everything that hangs on it; how many versions it had."""
    (whole,) = fetch(
        connection,
        _Whole,
        "select s.id, s.name, s.owner, i.latest, count(*), sum(v.bytes) from items i join spaces s on s.id = i.space "
        "join versions v on v.item = i.id where i.id = ?",
        (item,),
    )
    space = Space(whole.space, whole.name, whole.owner)
    gone = _unindex(connection, space, whole.latest)
    charge(connection, space.owner, Charge(-1, -whole.versions, -whole.bytes), Quotas())
    connection.execute("delete from items where id = ?", (item,))
    connection.execute("delete from spaces where id = ? and items = 0", (space.id,))
    connection.execute("delete from owners where name = ? and items = 0", (space.owner,))
    return Done(whole.versions, (gone,))
