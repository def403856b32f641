"""Vectors in the database: float16, with the encoder that made them, and what still waits for one.

The encoder in use is the one whose vectors came last. Another one makes everything wait for new vectors: those of
different encoders do not compare.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import apsw
import numpy as np

from llmos.drivers.store.memory.changes import Change, Done, VectorAdded
from llmos.kernel.ports.encoder import Embedding
from llmos.kernel.ports.memory import Unembedded


@dataclass(frozen=True, slots=True)
class Encoder:
    """Who made vectors, and how long they are."""

    id: int
    fingerprint: str
    dimensions: int


def encoder_in_use(connection: apsw.Connection) -> Encoder | None:
    """The one whose vectors came last."""
    row = connection.execute("select id, fingerprint, dimensions from encoders order by id desc limit 1").fetchone()
    return Encoder(int(row[0]), str(row[1]), int(row[2])) if row is not None else None


def use_encoder(connection: apsw.Connection, embedding: Embedding) -> Encoder:
    """The encoder of these vectors; when it is another than before, everything waits for new ones."""
    known = encoder_in_use(connection)
    if known is not None and (known.fingerprint, known.dimensions) == (embedding.fingerprint, embedding.dimensions):
        return known
    connection.execute(
        "insert into encoders(fingerprint, model, dimensions) values(?, ?, ?)",
        (embedding.fingerprint, embedding.model, embedding.dimensions),
    )
    connection.execute("insert or ignore into unembedded select latest from items")
    encoder = encoder_in_use(connection)
    assert encoder is not None
    return encoder


def embed_revision(
    connection: apsw.Connection, space: int, revision: int, encoder: Encoder, vector: bytes
) -> VectorAdded:
    """Give a latest revision its vector, little-endian float32."""
    half = np.frombuffer(vector, dtype="<f4").astype("<f2").tobytes()
    connection.execute("insert or replace into vectors values(?, ?, ?)", (revision, encoder.id, half))
    connection.execute("delete from unembedded where revision = ?", (revision,))
    return VectorAdded(space, revision, encoder.id, half)


def embed_later(connection: apsw.Connection, revision: int) -> None:
    """Let a latest revision wait for its vector."""
    connection.execute("insert or ignore into unembedded values(?)", (revision,))


def copy_vector(connection: apsw.Connection, space: int, old: int, new: int) -> tuple[Change, ...]:
    """Give a revision with the text of an older one that one's vector, if it is of the encoder in use."""
    encoder = encoder_in_use(connection)
    row = connection.execute("select encoder, vector from vectors where revision = ?", (old,)).fetchone()
    if encoder is None or row is None or row[0] != encoder.id:
        embed_later(connection, new)
        return ()
    connection.execute("insert into vectors values(?, ?, ?)", (new, encoder.id, row[1]))
    return (VectorAdded(space, new, encoder.id, row[1]),)


def unembedded(connection: apsw.Connection, limit: int) -> tuple[Unembedded, ...]:
    """Some that wait, oldest first."""
    rows = connection.execute(
        "select u.revision, v.text from unembedded u join versions v on v.revision = u.revision "
        "order by u.revision limit ?",
        (limit,),
    )
    return tuple(Unembedded(revision, text) for revision, text in rows)


def fill(connection: apsw.Connection, revisions: tuple[int, ...], embedding: Embedding) -> Done[int]:
    """Give those that still wait their vectors."""
    encoder = use_encoder(connection, embedding)
    changes: list[Change] = []
    for place, revision in enumerate(revisions):
        row = connection.execute(
            "select i.space from unembedded u join items i on i.latest = u.revision where u.revision = ?", (revision,)
        ).fetchone()
        if row is not None:
            changes.append(embed_revision(connection, row[0], revision, encoder, embedding.vector(place)))
    return Done(len(changes), tuple(changes))


def vectors_of(connection: apsw.Connection, space: int, encoder: int) -> Iterator[tuple[int, bytes]]:
    """The vectors of all latest revisions of a namespace, by revision."""
    yield from connection.execute(
        "select v.revision, v.vector from items i join vectors v on v.revision = i.latest "
        "where i.space = ? and v.encoder = ?",
        (space, encoder),
    )
