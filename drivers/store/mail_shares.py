"""What each sender holds of a mailbox and of all mailboxes of an owner, and how much it may hold.

The rule is that of dynamic thresholds for shared buffers (Choudhury and Hahne 1998, with alpha 1): one more is taken as
long as the sender holds less than is free. So one sender gets half, rounded up; n senders leave at least a 2^n-th part
free, rounded down, whatever was taken out meanwhile; and the last free place is only for one who holds nothing. The
owner of a mailbox is bound by its limits alone.

It does not know messages. The counts are in temporary tables, which take part in transactions and go with the
connection; they are made anew from the messages when a store is opened.
"""

from __future__ import annotations

from dataclasses import dataclass

import apsw

TABLES = """
create temp table if not exists shares_of_mailboxes(
    place integer not null, principal text not null, messages integer not null, bytes integer not null,
    primary key(place, principal)) without rowid;
create temp table if not exists shares_of_owners(
    place integer not null, principal text not null, messages integer not null, bytes integer not null,
    primary key(place, principal)) without rowid;
"""
COUNT = """
delete from shares_of_mailboxes;
delete from shares_of_owners;
insert into shares_of_mailboxes select pid, principal, count(*), sum(size) from messages where state in (0, 1)
    group by pid, principal;
insert into shares_of_owners select owner, principal, count(*), sum(size) from messages where state in (0, 1)
    group by owner, principal;
"""


@dataclass(slots=True, eq=False)
class Share:
    """What one sender holds in one place."""

    messages: int = 0
    bytes: int = 0


class Held:
    """The shares in one kind of place that a batch has touched."""

    def __init__(self, connection: apsw.Connection, table: str) -> None:
        self._connection = connection
        self._table = table
        self._known: dict[tuple[int, str], Share] = {}

    def of(self, place: int, principal: str) -> Share:
        """One sender's in one place."""
        share = self._known.get((place, principal))
        if share is None:
            row = self._connection.execute(
                f"select messages, bytes from {self._table} where place = ? and principal = ?", (place, principal)
            ).fetchone()
            share = self._known[place, principal] = Share(*row) if row is not None else Share()
        return share

    def write(self) -> None:
        """Write what has changed."""
        held = [(*key, share.messages, share.bytes) for key, share in self._known.items() if share.messages]
        gone = [key for key, share in self._known.items() if not share.messages]
        self._connection.executemany(f"insert or replace into {self._table} values(?, ?, ?, ?)", held)
        self._connection.executemany(f"delete from {self._table} where place = ? and principal = ?", gone)


class Shares:
    """Those that a batch has touched: `here` in mailboxes, `everywhere` in all mailboxes of an owner."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.here = Held(connection, "shares_of_mailboxes")
        self.everywhere = Held(connection, "shares_of_owners")

    def write(self) -> None:
        """Write what has changed."""
        self.here.write()
        self.everywhere.write()
