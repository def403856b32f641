"""Messages in SQLite (`MailStore`): what is in the report of a batch is on the disk.

It does not know who waits for messages. One batch is one piece of work of the database's single writer; batches that
wait there together share a commit.
"""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

import apsw

from llmos.drivers.store.database import Database
from llmos.drivers.store.mail_batch import Batch
from llmos.drivers.store.mail_rows import DEAD, DEAD_TAKEN, TAKEN, WAITING
from llmos.drivers.store.mail_shares import COUNT, TABLES
from llmos.kernel.ports.mail import BatchReport, Kept, MailLimits, MailOwner, Operation, Tally
from llmos.syscalls.abi.words import Pid

SCHEMA = """
create table if not exists numbers(one integer primary key check(one = 1), next integer not null) strict;
insert or ignore into numbers values(1, 1);
create table if not exists owners(
    id integer primary key, name text not null, tenant text not null,
    messages integer not null default 0, bytes integer not null default 0,
    dead integer not null default 0, dead_bytes integer not null default 0, remembered integer not null default 0,
    unique(name, tenant)) strict;
create table if not exists mailboxes(
    pid integer primary key, owner integer not null references owners(id),
    messages integer not null default 0, bytes integer not null default 0, letters integer not null default 0,
    ended integer not null default 0) strict;
create table if not exists messages(
    number integer primary key, pid integer not null, owner integer not null, state integer not null, due real,
    deliveries integer not null default 0, sent real not null, size integer not null, principal text not null,
    sender integer not null, id text, tag text, topic text, dead text not null default '', body blob not null) strict;
create index if not exists messages_of_mailbox on messages(pid, state, number);
create index if not exists messages_of_owner on messages(owner, state, number);
create index if not exists messages_due on messages(due) where due is not null;
create table if not exists ids(
    number integer primary key, owner integer not null, pid integer not null, principal text not null,
    sender integer not null, id text not null, until real) strict;
create unique index if not exists ids_by_name on ids(pid, principal, sender, id);
create index if not exists ids_until on ids(until) where until is not null;
create index if not exists ids_of_owner on ids(owner, number) where until is not null;
create table if not exists subscriptions(
    topic text not null, pid integer not null references mailboxes(pid), primary key(topic, pid)) strict, without rowid;
create index if not exists subscriptions_of_mailbox on subscriptions(pid);
"""


class MailDatabase:
    """Messages in one file."""

    def __init__(self, path: Path, limits: MailLimits) -> None:
        """Open or make it. Raises `InvalidArgument` for a damaged file, `DeviceError`."""
        self._limits = limits
        self._database = Database(path, SCHEMA + TABLES)

    def recover(self) -> Kept:
        return self._database.write(_recover).result()

    def perform(self, operations: tuple[Operation, ...], now: float) -> Future[BatchReport]:
        return self._database.write(lambda connection: Batch(connection, self._limits, now).run(operations))

    def close(self) -> None:
        self._database.close()


def _recover(connection: apsw.Connection) -> Kept:
    for taken, free in ((TAKEN, WAITING), (DEAD_TAKEN, DEAD)):
        connection.execute("update messages set state = ?, due = null where state = ?", (free, taken))
    connection.execute("update mailboxes set ended = 1")
    connection.execute(
        "delete from mailboxes where messages = 0 and letters = 0"
        " and not exists (select 1 from subscriptions where subscriptions.pid = mailboxes.pid)"
    )
    connection.execute(COUNT)
    mailboxes: list[tuple[int, str, str]] = connection.execute(
        "select pid, name, tenant from mailboxes join owners on owners.id = mailboxes.owner"
    ).fetchall()  # type: ignore[assignment] # the columns' types
    subscriptions: list[tuple[str, int]] = connection.execute("select topic, pid from subscriptions").fetchall()  # type: ignore[assignment] # the columns' types
    totals = connection.execute("select total(messages), total(bytes), total(dead) from owners").fetchone()
    messages, size, dead = totals or (0, 0, 0)
    return Kept(
        tuple((Pid(row[0]), MailOwner(row[1], row[2])) for row in mailboxes),
        tuple((row[0], Pid(row[1])) for row in subscriptions),
        Tally(int(messages), int(size), int(dead)),
    )
