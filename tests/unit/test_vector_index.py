"""The index of one namespace: exact while small, nearly so when compressed, current through every change."""

from __future__ import annotations

import numpy as np

from llmos.drivers.store.memory.changes import RevisionGone, VectorAdded
from llmos.drivers.store.memory.vector_index import (
    EXACT_BELOW,
    MOST_NOTED,
    Floats,
    Snapshot,
    VectorIndex,
    rebuilt,
)

DIMENSIONS = 32


def some_vectors(count: int, seed: int = 1) -> Floats:
    """Vectors of length 1 around a hundred middles, as texts about a hundred things have."""
    source = np.random.default_rng(seed)
    middles = np.random.default_rng(9).normal(size=(100, DIMENSIONS))
    vectors = middles[source.integers(0, 100, count)] + source.normal(scale=0.6, size=(count, DIMENSIONS))
    unit: Floats = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def built(vectors: Floats, first: int = 1) -> VectorIndex:
    """An index whose revisions are numbered from `first`."""
    revisions = np.arange(first, first + len(vectors), dtype=np.int64)
    return rebuilt(DIMENSIONS, Snapshot(vectors.astype(np.float16), revisions, np.ones(len(vectors), dtype=np.bool_)))


def added(revision: int, vector: Floats) -> VectorAdded:
    return VectorAdded(1, revision, 1, vector.astype(np.float16).tobytes())


def best(vectors: Floats, query: Floats, count: int) -> set[int]:
    """By brute force."""
    return {int(row) + 1 for row in np.argsort(-(vectors @ query))[:count]}


def found(index: VectorIndex, query: Floats, count: int) -> set[int]:
    return {hit.revision for hit in index.nearest(query, count)}


def recall(index: VectorIndex, vectors: Floats) -> float:
    queries = some_vectors(50, seed=2)
    return sum(len(found(index, query, 10) & best(vectors, query, 10)) for query in queries) / 500


def test_few_vectors_are_ranked_exactly() -> None:
    vectors = some_vectors(1000)
    assert recall(built(vectors), vectors) >= 0.99


def test_many_are_compressed_and_still_found() -> None:
    vectors = some_vectors(EXACT_BELOW + 5000)
    index = built(vectors)
    assert not index.wants_rebuild
    assert recall(index, vectors) >= 0.95
    assert index.bytes > len(vectors) * 2 * DIMENSIONS


def test_changes_hold_at_once_also_beside_the_codes() -> None:
    vectors = some_vectors(EXACT_BELOW)
    index = built(vectors)
    query = some_vectors(1, seed=5)[0]
    (nearest,) = found(index, query, 1)
    index.note(RevisionGone(1, nearest))
    index.note(added(10**6, query))
    index.note(added(10**6 + 1, query))
    index.note(RevisionGone(1, 10**6 + 1))
    hits = index.nearest(query, 100)
    assert hits[0].revision == 10**6
    assert len(hits) == 100
    assert not {nearest, 10**6 + 1} & {hit.revision for hit in hits}
    assert len(index) == EXACT_BELOW


def test_a_change_that_comes_twice_does_no_harm() -> None:
    index = built(some_vectors(10))
    index.note(added(3, some_vectors(10)[2]))
    index.note(RevisionGone(1, 99))
    assert len(found(index, some_vectors(1)[0], 100)) == 10


def test_all_but_a_few_can_be_gone_and_the_few_are_found() -> None:
    vectors = some_vectors(EXACT_BELOW)
    index = built(vectors)
    for revision in range(1, EXACT_BELOW - 4):
        index.note(RevisionGone(1, revision))
    query = some_vectors(1, seed=5)[0]
    assert found(index, query, 10) == set(range(EXACT_BELOW - 4, EXACT_BELOW + 1))
    assert index.wants_rebuild
    assert {hit.revision for hit in index.nearest_among(query, range(1, EXACT_BELOW + 1), 10)} == set(
        range(EXACT_BELOW - 4, EXACT_BELOW + 1)
    )
    index.take_over(rebuilt(DIMENSIONS, index.snapshot()))
    assert found(index, query, 10) == set(range(EXACT_BELOW - 4, EXACT_BELOW + 1))
    assert not index.wants_rebuild


def test_a_rebuild_keeps_what_has_changed_meanwhile() -> None:
    vectors = some_vectors(200)
    index = built(vectors[:100])
    index.note(RevisionGone(1, 1))
    snapshot = index.snapshot()
    index.note(RevisionGone(1, 2))
    index.note(added(200, vectors[199]))
    index.take_over(rebuilt(DIMENSIONS, snapshot))
    assert found(index, vectors[199], 200) == {*range(3, 101), 200}
    index.note(added(201, vectors[198]))
    assert 201 in found(index, vectors[198], 2)


def test_an_index_that_grows_wants_codes() -> None:
    index, vectors = built(some_vectors(10)), some_vectors(EXACT_BELOW)
    for place, vector in enumerate(vectors):
        index.note(added(place + 100, vector))
    assert len(found(index, vectors[0], 5)) == 5
    wanted = index.wants_rebuild
    index.take_over(rebuilt(DIMENSIONS, index.snapshot()))
    assert (wanted, index.wants_rebuild) == (True, False)
    assert place + 100 in found(index, vectors[-1], 1)


def test_an_index_that_nobody_asks_for_a_long_time_is_stale_and_not_large() -> None:
    index, vector = built(some_vectors(10)), some_vectors(1)[0]
    for revision in range(MOST_NOTED):
        index.note(RevisionGone(1, 100 + revision))
    assert not index.stale
    index.note(added(50, vector))
    assert index.stale


def test_dimensions_that_cannot_be_divided_stay_exact() -> None:
    vectors = np.ascontiguousarray(some_vectors(EXACT_BELOW)[:, :30])
    revisions = np.arange(len(vectors), dtype=np.int64)
    index = rebuilt(30, Snapshot(vectors.astype(np.float16), revisions, np.ones(len(vectors), dtype=np.bool_)))
    assert index.nearest(vectors[7] / np.linalg.norm(vectors[7]), 1)[0].revision == 7
    assert not index.wants_rebuild
