"""Rows of the table of messages: the places where a message can be, and the moves between them.

It keeps no counts; whoever moves a message does. A message that waits or is a dead letter is free to be taken; one that
is taken has a time when its lease is over.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import apsw

from llmos.kernel.ports.mail import Draft, StoredMail, Wanted
from llmos.syscalls.abi.words import Pid

WAITING: Final = 0
TAKEN: Final = 1
DEAD: Final = 2
DEAD_TAKEN: Final = 3
"""Places, as they are stored; odd ones are taken."""

_MAIL = "number, pid, body, principal, sent, deliveries, id, tag, sender, topic, dead"
_TRACE = "number, pid, owner, state, deliveries, size, principal, sender, id, tag, topic"


@dataclass(frozen=True, slots=True)
class Trace:
    """What has to be known of a message to move it or to take it away; `state` is where it is then."""

    number: int
    pid: Pid
    owner: int
    state: int
    deliveries: int
    size: int
    principal: str
    sender: int
    id: str | None
    tag: str | None
    topic: str | None

    @property
    def wanted(self) -> Wanted:
        """By what a receiver can choose it."""
        return Wanted(self.sender, self.tag, self.topic)


@dataclass(frozen=True, slots=True)
class Place:
    """Messages of one mailbox or of one owner."""

    column: str
    value: int


def insert(
    connection: apsw.Connection, number: int, pid: Pid, owner: int, draft: Draft, now: float, dead: str = ""
) -> Trace:
    """Put a message into a mailbox, as a dead letter if `dead` says why."""
    state, size = DEAD if dead else WAITING, len(draft.body)
    connection.execute(
        "insert into messages(number, pid, owner, state, sent, size, principal, sender, id, tag, topic, dead, body)"
        " values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (number, pid, owner, state, now, size, draft.principal, *_label(draft), dead, draft.body),
    )
    return Trace(number, pid, owner, state, 0, size, draft.principal, draft.sender, draft.id, draft.tag, draft.topic)


def free_ones(
    connection: apsw.Connection, place: Place, state: int, wanted: Wanted, most: int, most_bytes: int
) -> list[StoredMail]:
    """The oldest messages that can be taken; so many that their bodies fit, one at least."""
    found: list[StoredMail] = []
    size = 0
    for row in connection.execute(*_choice(place, state, wanted, most)):
        number, pid, body, principal, sent, deliveries, id, tag, sender, topic, dead = row
        size += len(body)
        if found and size > most_bytes:
            break
        found.append(StoredMail(number, Pid(pid), body, principal, sent, deliveries, id, tag, sender, topic, dead))
    return found


def take(connection: apsw.Connection, numbers: Iterable[int], state: int, due: float) -> None:
    """Mark messages as taken; that is a delivery, unless they are dead letters."""
    counted = "deliveries + 1" if state == TAKEN else "deliveries"
    connection.executemany(
        f"update messages set state = ?, due = ?, deliveries = {counted} where number = ?",
        [(state, due, number) for number in numbers],
    )


def free(connection: apsw.Connection, place: Place, number: int, unseen: bool) -> Trace | None:
    """Let a message that is taken be free again; None when it is not taken, or not there."""
    back = "max(deliveries - 1, 0)" if unseen else "deliveries"
    row = connection.execute(
        f"update messages set deliveries = case state when {TAKEN} then {back} else deliveries end,"
        f" state = state - 1, due = null where number = ? and {place.column} = ?"
        f" and state in ({TAKEN}, {DEAD_TAKEN}) returning {_TRACE}",
        (number, place.value),
    ).fetchone()
    return _trace(row)


def overdue(connection: apsw.Connection, now: float) -> list[Trace]:
    """Let all messages be free whose lease is over; oldest first."""
    rows = connection.execute(
        f"update messages set state = state - 1, due = null where due <= ? returning {_TRACE}", (now,)
    ).fetchall()
    return sorted((trace for row in rows if (trace := _trace(row)) is not None), key=lambda trace: trace.number)


def remove(connection: apsw.Connection, place: Place, number: int) -> Trace | None:
    """Take a message away; None when it is not there."""
    row = connection.execute(
        f"delete from messages where number = ? and {place.column} = ? returning {_TRACE}", (number, place.value)
    ).fetchone()
    return _trace(row)


def bury(connection: apsw.Connection, number: int, reason: str) -> None:
    """Make a message a dead letter."""
    connection.execute("update messages set state = ?, due = null, dead = ? where number = ?", (DEAD, reason, number))


def older_than(connection: apsw.Connection, moment: float, state: int) -> list[Trace]:
    """Messages in a place that were sent before a moment."""
    rows = connection.execute(
        f"select {_TRACE} from messages where state = ? and sent < ? order by number", (state, moment)
    ).fetchall()
    return [trace for row in rows if (trace := _trace(row)) is not None]


def oldest_dead(connection: apsw.Connection, owner: int) -> int | None:
    """The oldest dead letter of an owner that nobody has taken."""
    row = connection.execute(
        "select number from messages where owner = ? and state = ? order by number limit 1", (owner, DEAD)
    ).fetchone()
    return row[0] if row is not None else None


def _label(draft: Draft) -> tuple[int, str | None, str | None, str | None]:
    return draft.sender, draft.id, draft.tag, draft.topic


def _choice(place: Place, state: int, wanted: Wanted, most: int) -> tuple[str, tuple[str | int, ...]]:
    conditions, values = [f"{place.column} = ?", "state = ?"], [place.value, state]
    for column, value in (("sender", wanted.sender), ("tag", wanted.tag), ("topic", wanted.topic)):
        if value is not None:
            conditions.append(f"{column} = ?")
            values.append(value)  # type: ignore[arg-type] # of the column's type
    return (
        f"select {_MAIL} from messages where {' and '.join(conditions)} order by number limit ?",
        (*values, most),
    )


def _trace(row: apsw.SQLiteValues | None) -> Trace | None:
    return Trace(*row) if row is not None else None  # type: ignore[arg-type] # the columns are those of the class
