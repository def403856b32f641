"""The vectors of one namespace in memory: exact while they are few, then compressed with exact re-ranking.

All vectors are kept as float16, and scanned exactly while there are less than `EXACT_BELOW`. Above that a search scans
4-bit product-quantized codes in registers (André, Kermarrec, Le Scouarnec, Cache locality is not enough: FastScan, VLDB
2015; faiss's `IndexPQFastScan`), takes the best few hundred, and ranks those by their float16 vectors. Codes need no
graph: adding is appending, building takes a second for 100,000, and recall does not decay with updates.

It does not know what a revision is or who may see it. Rules:

- `note` may be called from any thread and never waits; everything else is called under `lock`, apart from `rebuilt`,
  which works on a snapshot.
- Rows are only appended. One that is gone stays until a rebuild, and is never found.
- Rows after the coded ones are scanned exactly; a rebuild trains anew on what there is.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import faiss
import numpy as np
import numpy.typing as npt

from llmos.drivers.store.memory.changes import Change, RevisionGone, VectorAdded
from llmos.drivers.store.memory.words import Hit

EXACT_BELOW = 16_384
"""Vectors that are scanned exactly: as fast as their codes, and nothing has to be built."""

MOST_NOTED = 50_000
"""Changes that may wait for a search; an index that nobody has asked for that long is not worth them."""

_RERANKED = 200
"""Candidates that are ranked exactly, at least; and for so many vectors one more: recall falls with their number."""

_VECTORS_PER_CANDIDATE = 2_500
_TRAINED_ON = 20_000
_SUBVECTOR = 4
_BITS = 4

Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]
Rows = npt.NDArray[np.int64]
Number = TypeVar("Number", np.int64, np.bool_)
Truths = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The rows of an index at one moment, for a rebuild beside it."""

    vectors: Halves
    revisions: Rows
    alive: Truths


class VectorIndex:
    """The index of one namespace and one encoder."""

    def __init__(self, dimensions: int, vectors: Halves, revisions: Rows) -> None:
        """Of vectors `[n, dimensions]` of length 1 and their `n` revisions; the codes are not made yet."""
        self.lock = threading.Lock()
        self.stale = False
        """It has missed changes, and must be loaded anew."""
        self._dimensions = dimensions
        self._noted: deque[Change] = deque()
        self._exact = faiss.IndexScalarQuantizer(dimensions, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        self._revisions = np.empty(0, dtype=np.int64)
        self._alive = np.empty(0, dtype=np.bool_)
        self._count = 0
        self._rows: dict[int, int] = {}
        self._codes: faiss.Index | None = None
        self._coded = 0
        self._append(vectors, revisions)

    @property
    def bytes(self) -> int:
        """What it takes in memory, about."""
        codes = self._dimensions // _SUBVECTOR * _BITS // 8
        return self._count * (2 * self._dimensions + codes + 128)

    def note(self, change: Change) -> None:
        """Take a change over before the next search."""
        if len(self._noted) >= MOST_NOTED:
            self.stale = True
        elif not self.stale:
            self._noted.append(change)

    def nearest(self, vector: Floats, count: int) -> list[Hit]:
        """The `count` best, or all there are, best first."""
        self._catch_up()
        if self._codes is None:
            return self._best(vector, self._scanned(vector, count, 0), count)
        wanted = max(_RERANKED, 4 * count, self._count // _VECTORS_PER_CANDIDATE + count)
        _, found = self._codes.search(vector[None, :], min(wanted, self._coded))
        rows = np.concatenate((found[0], self._scanned(vector, count, self._coded)))
        hits = self._best(vector, rows, count)
        if len(hits) < min(count, len(self)):
            # Too many of the candidates are gone; a rebuild is due.
            return self._best(vector, self._scanned(vector, count, 0), count)
        return hits

    def nearest_among(self, vector: Floats, revisions: Iterable[int], count: int) -> list[Hit]:
        """The `count` best of these revisions, exactly."""
        self._catch_up()
        rows = [self._rows[revision] for revision in revisions if revision in self._rows]
        return self._best(vector, np.array(rows, dtype=np.int64), count)

    def __len__(self) -> int:
        """How many vectors there are."""
        return len(self._rows)

    @property
    def wants_rebuild(self) -> bool:
        """Whether too many rows have no code, or belong to nobody any more."""
        slack = max(EXACT_BELOW // 4, self._count // 4)
        return self._count - len(self._rows) > slack or (
            self._count >= EXACT_BELOW and self._count - self._coded > slack and self._dimensions % _SUBVECTOR == 0
        )

    def snapshot(self) -> Snapshot:
        """The rows as they are."""
        self._catch_up()
        return Snapshot(
            self._stored()[: self._count].copy(),
            self._revisions[: self._count].copy(),
            self._alive[: self._count].copy(),
        )

    def take_over(self, built: VectorIndex) -> None:
        """Become what was rebuilt from the snapshot, with what has changed since."""
        self._catch_up()
        gone = [revision for revision in built._rows if revision not in self._rows]
        fresh = np.array([row for revision, row in self._rows.items() if revision not in built._rows], dtype=np.int64)
        for revision in gone:
            built._remove(revision)
        if len(fresh):
            built._append(self._stored()[fresh], self._revisions[fresh])
        self._exact, self._revisions, self._alive, self._count = (
            built._exact,
            built._revisions,
            built._alive,
            built._count,
        )
        self._rows, self._codes, self._coded = built._rows, built._codes, built._coded

    # --- inside

    def _catch_up(self) -> None:
        """Take over what was noted; runs of additions together."""
        added: dict[int, bytes] = {}
        while self._noted:
            match self._noted.popleft():
                case VectorAdded(revision=revision, vector=vector):
                    added[revision] = vector
                case RevisionGone(revision=revision):
                    added.pop(revision, None)
                    self._remove(revision)
        fresh = {revision: vector for revision, vector in added.items() if revision not in self._rows}
        if fresh:
            vectors = np.frombuffer(b"".join(fresh.values()), dtype=np.float16).reshape(-1, self._dimensions)
            self._append(vectors, np.fromiter(fresh, dtype=np.int64, count=len(fresh)))

    def _append(self, vectors: Halves, revisions: Rows) -> None:
        first, count = self._count, len(revisions)
        if not count:
            return
        self._exact.add(vectors.astype(np.float32))
        self._revisions = _extended(self._revisions, first, revisions)
        self._alive = _extended(self._alive, first, np.ones(count, dtype=np.bool_))
        self._rows.update(zip(revisions.tolist(), range(first, first + count), strict=True))
        self._count += count

    def _remove(self, revision: int) -> None:
        row = self._rows.pop(revision, None)
        if row is not None:
            self._alive[row] = False

    def _stored(self) -> Halves:
        """The vectors where faiss keeps them, one a row; valid until the next addition."""
        codes = faiss.rev_swig_ptr(self._exact.codes.data(), self._exact.ntotal * 2 * self._dimensions)
        stored: Halves = codes.view(np.float16).reshape(-1, self._dimensions)
        return stored

    def _scanned(self, vector: Floats, count: int, first: int) -> Rows:
        """The rows of the `count` best after the first ones, by scanning all of them."""
        if first >= self._count or not count:
            return np.empty(0, dtype=np.int64)
        alive = self._alive[: self._count].copy()
        alive[:first] = False
        bits = np.packbits(alive, bitorder="little")
        selector = faiss.IDSelectorBitmap(self._count, faiss.swig_ptr(bits))
        _, found = self._exact.search(
            vector[None, :],
            min(count, self._count),
            params=faiss.SearchParameters(sel=selector),  # type: ignore[call-arg] # made by swig
        )
        rows: Rows = found[0]
        return rows

    def _best(self, vector: Floats, rows: Rows, count: int) -> list[Hit]:
        """The best of some rows by their stored vectors; equal ones in the order of their making."""
        rows = rows[rows >= 0]
        rows = rows[self._alive[rows]]
        if not len(rows):
            return []
        scores = self._stored()[rows].astype(np.float32) @ vector
        revisions = self._revisions[rows]
        order: Sequence[int] = np.lexsort((revisions, -scores))[:count].tolist()
        return [Hit(int(revisions[place]), float(scores[place])) for place in order]


def rebuilt(dimensions: int, rows: Snapshot) -> VectorIndex:
    """An index of the rows that are alive, with codes if they are many; takes a second for 100,000."""
    vectors, revisions = rows.vectors[rows.alive], rows.revisions[rows.alive]
    index = VectorIndex(dimensions, vectors, revisions)
    if len(revisions) >= EXACT_BELOW and dimensions % _SUBVECTOR == 0:
        codes = faiss.IndexPQFastScan(dimensions, dimensions // _SUBVECTOR, _BITS, faiss.METRIC_INNER_PRODUCT)
        step = max(1, len(revisions) // _TRAINED_ON)
        codes.train(vectors[::step].astype(np.float32))
        for first in range(0, len(revisions), _TRAINED_ON):
            codes.add(vectors[first : first + _TRAINED_ON].astype(np.float32))
        index._codes, index._coded = codes, len(revisions)
    return index


def _extended(array: npt.NDArray[Number], count: int, more: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """The array with more rows after the first `count`; room grows by half."""
    if count + len(more) > len(array):
        array = np.resize(array, max(count + len(more), count * 3 // 2))
    array[count : count + len(more)] = more
    return array
