"""Finding items: by words, by meaning, and both fused by the reciprocal of their ranks.

Cormack, Clarke, Büttcher, Reciprocal rank fusion outperforms Condorcet and individual rank learning methods, SIGIR
2009: an item's score is the sum of 1 / (60 + rank) over the lists that have it.

Filters hold for all that is found: few that may fit are ranked exactly; of many, more and more of the nearest are
looked at until enough of them fit, and at last all that fit are ranked exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import apsw
import numpy as np
from msgspec.structs import replace

from llmos.drivers.store.memory.fetching import numbers
from llmos.drivers.store.memory.filters import Condition, among, condition_of, few_that_may_fit, in_space
from llmos.drivers.store.memory.frequencies import Frequencies
from llmos.drivers.store.memory.lineage import note_readings
from llmos.drivers.store.memory.rows import Found, load
from llmos.drivers.store.memory.vector_index import Floats, VectorIndex
from llmos.drivers.store.memory.vectors import Encoder, encoder_in_use
from llmos.drivers.store.memory.words import Hit, rank_by_words
from llmos.kernel.ports.encoder import Embedding
from llmos.kernel.ports.memory import Question
from llmos.syscalls.abi.memory import MemoryRecord, SearchMode

FUSION_RANK = 60
DEPTH = 50
"""How many of each list are fused, at least."""

_MOST_NEAREST = 4_096


@dataclass(frozen=True, slots=True)
class Place:
    """Where a search looks: a namespace, about how many items that has, and the encoder that made its vectors; none
    for a search by words.
    """

    space: int
    items: int
    encoder: Encoder | None

    def compares(self, vector: Embedding) -> bool:
        """Whether a vector is of the same encoder."""
        return self.encoder is not None and self.encoder.fingerprint == vector.fingerprint


@dataclass(frozen=True, slots=True)
class Begun:
    """As much of a search as needs no vector: the best by words, none in a search by meaning."""

    place: Place
    words: list[Hit]


def begin(connection: apsw.Connection, question: Question, frequencies: Frequencies, now: float) -> Begun | None:
    """Find the place, and rank by words; at least `limit` when there are so many. None: the namespace has nothing."""
    row = connection.execute("select id, items from spaces where name = ?", (question.namespace,)).fetchone()
    if row is None:
        return None
    encoder = encoder_in_use(connection) if question.mode is not SearchMode.TEXT else None
    place = Place(int(row[0]), int(row[1]), encoder)
    if question.mode is SearchMode.VECTOR:
        return Begun(place, [])
    condition = condition_of(connection, place.space, question.where, now)
    depth = _depth(question)
    return Begun(place, rank_by_words(connection, place.space, question.query, condition, depth, frequencies))


def finish(
    connection: apsw.Connection, question: Question, begun: Begun, vector: Embedding, index: VectorIndex, now: float
) -> list[Hit]:
    """Rank by meaning, and fuse that with what was found by words."""
    condition = condition_of(connection, begun.place.space, question.where, now)
    meaning = _by_meaning(connection, question, begun.place, index, vector, condition)
    return meaning if question.mode is SearchMode.VECTOR else fuse(begun.words, meaning)


def without_meaning(question: Question, begun: Begun) -> list[Hit]:
    """What there is when there is no vector to compare."""
    return fuse(begun.words) if question.mode is SearchMode.HYBRID else begun.words


def _depth(question: Question) -> int:
    return max(DEPTH, question.limit) if question.mode is SearchMode.HYBRID else question.limit


def fuse(*lists: list[Hit]) -> list[Hit]:
    """Fuse ranked lists by reciprocal rank."""
    scores: dict[int, float] = {}
    for hits in lists:
        for place, hit in enumerate(hits, 1):
            scores[hit.revision] = scores.get(hit.revision, 0.0) + 1 / (FUSION_RANK + place)
    return sorted(
        (Hit(revision, score) for revision, score in scores.items()), key=lambda hit: (-hit.score, hit.revision)
    )


def take(
    connection: apsw.Connection, question: Question, place: Place, hits: Sequence[Hit], now: float
) -> tuple[MemoryRecord, ...]:
    """The records of the best, as they are now; what was forgotten or replaced meanwhile is passed over."""
    condition = condition_of(connection, place.space, question.where, now)
    found: list[Found] = []
    for first in range(0, len(hits), question.limit):
        found += load(connection, [hit.revision for hit in hits[first : first + question.limit]], condition)
        if len(found) >= question.limit:
            break
    found = found[: question.limit]
    if question.context is not None:
        note_readings(connection, question.context, (one.revision for one in found), now)
    scores = {hit.revision: hit.score for hit in hits}
    return tuple(replace(one.record, score=scores[one.revision]) for one in found)


def _by_meaning(
    connection: apsw.Connection,
    question: Question,
    place: Place,
    index: VectorIndex,
    embedding: Embedding,
    condition: Condition,
) -> list[Hit]:
    depth = _depth(question)
    vector = np.frombuffer(embedding.vector(0), dtype="<f4").astype(np.float32)
    few = few_that_may_fit(connection, place.space, question.where)
    if few is not None:
        return _exactly(connection, place, index, vector, condition, depth)
    count = 4 * depth if question.where else depth
    while count <= _MOST_NEAREST:
        with index.lock:
            hits, whole = index.nearest(vector, count), count >= len(index)
        fitting = _fitting(connection, hits, condition)
        if len(fitting) >= depth or whole:
            return fitting[:depth]
        count *= 4
    return _exactly(connection, place, index, vector, condition, depth)


def _exactly(
    connection: apsw.Connection,
    place: Place,
    index: VectorIndex,
    vector: Floats,
    condition: Condition,
    depth: int,
) -> list[Hit]:
    """The best of all that fit."""
    whole = in_space(place.space, condition)
    revisions = numbers(connection, f"select i.latest from items i where {whole.sql}", whole.bindings)
    with index.lock:
        return index.nearest_among(vector, revisions, depth)


def _fitting(connection: apsw.Connection, hits: list[Hit], condition: Condition) -> list[Hit]:
    wanted = among([hit.revision for hit in hits])
    sql = f"select i.latest from items i where {wanted.sql} and {condition.sql}"
    fit = set(numbers(connection, sql, (*wanted.bindings, *condition.bindings)))
    return [hit for hit in hits if hit.revision in fit]
