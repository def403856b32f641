"""The tables of memory, and what is prepared whenever the database is opened.

A version's row id, its `revision`, is never used again: it names the version in every other table and in the indexes.
Rules:

- `words`, `facts`, `vectors` and the indexes hold what can be found: the latest version of each item, and nothing else;
  only `vectors` also keeps those of older versions, for a rollback.
- What is deleted is overwritten (`secure_delete`, in the full-text index too).
- `unembedded` has the latest versions without a vector of the encoder in use, which is the last row of `encoders`.
- `readings` says what a context has read; `mark` is the last revision that was written before.
"""

from __future__ import annotations

import apsw

SCHEMA = """
create table if not exists spaces(
    id integer primary key autoincrement, name text not null unique, owner text not null,
    items integer not null default 0, words integer not null default 0
) strict;
create table if not exists owners(
    name text primary key, items integer not null default 0, versions integer not null default 0,
    bytes integer not null default 0
) strict, without rowid;
create table if not exists items(
    id integer primary key autoincrement, space integer not null references spaces(id), name text not null,
    latest integer not null, created real not null, expires real, unique(space, name)
) strict;
create index if not exists items_by_age on items(space, id);
create index if not exists items_by_expiry on items(expires) where expires is not null;
create unique index if not exists items_by_revision on items(latest);
create table if not exists versions(
    revision integer primary key autoincrement, item integer not null references items(id) on delete cascade,
    number integer not null, text text not null, metadata text not null, author text not null, trust text not null,
    source integer, at real not null, words integer not null, bytes integer not null, unique(item, number)
) strict;
create index if not exists versions_by_source on versions(source, revision) where source is not null;
create table if not exists facts(
    space integer not null, key text not null, kind text not null, value any not null, revision integer not null,
    primary key(space, key, kind, value, revision)
) strict, without rowid;
create index if not exists facts_by_revision on facts(revision, key);
create table if not exists encoders(
    id integer primary key autoincrement, fingerprint text not null, model text not null, dimensions integer not null
) strict;
create table if not exists vectors(
    revision integer primary key references versions(revision) on delete cascade,
    encoder integer not null, vector blob not null
) strict;
create table if not exists unembedded(
    revision integer primary key references versions(revision) on delete cascade
) strict;
create table if not exists contexts(
    pid integer primary key, principal text not null, tenant text not null
) strict;
create table if not exists readings(
    item integer not null references items(id) on delete cascade, number integer not null,
    pid integer not null references contexts(pid), at real not null, mark integer not null,
    primary key(item, number, pid)
) strict, without rowid;
create index if not exists readings_by_context on readings(pid);
create virtual table if not exists words using fts5(text, tokenize="unicode61 remove_diacritics 0 tokenchars '_'");
create virtual table if not exists word_places using fts5vocab(words, instance);
create virtual table if not exists word_counts using fts5vocab(words, row);
"""


def prepare(connection: apsw.Connection) -> None:
    """Let nothing that is deleted stay in the file."""
    connection.execute("pragma secure_delete=on").fetchall()
    connection.execute("insert into words(words, rank) values('secure-delete', 1)")
