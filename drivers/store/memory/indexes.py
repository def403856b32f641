"""The vector indexes of all namespaces: loaded when they are first searched, kept current, bounded in memory.

It does not know what is searched. Rules:

- An index is made from one snapshot of the database and from the changes noted since before that, so it never misses
  one that was acknowledged; a change that comes twice does no harm.
- Loading and rebuilding never hold up the index of another namespace for longer than a small one takes: large ones
  have a thread of their own.
- Those that were not searched for longest go first when all together are above the bound; the one in use stays.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor

import faiss
import numpy as np

from llmos.drivers.store.database import Database
from llmos.drivers.store.memory.changes import Change, VectorAdded
from llmos.drivers.store.memory.vector_index import MOST_NOTED, Snapshot, VectorIndex, rebuilt
from llmos.drivers.store.memory.vectors import Encoder, vectors_of

LARGE = 20_000
"""Items of a namespace whose index is made in the thread for large ones."""


class _Entry:
    """An index, or one that is being loaded; guarded by the lock of `Indexes`."""

    def __init__(self, encoder: Encoder, loading: Executing) -> None:
        self.encoder = encoder
        self.loading = loading
        self.index: VectorIndex | None = None
        self.noted: list[Change] = []
        self.rebuilding = False

    def note(self, change: Change) -> None:
        if isinstance(change, VectorAdded) and change.encoder != self.encoder.id:
            return
        if self.index is not None:
            self.index.note(change)
        elif len(self.noted) <= MOST_NOTED:
            self.noted.append(change)

    @property
    def stale(self) -> bool:
        """Whether it has missed something."""
        return self.index is not None and self.index.stale


Executing = Future[VectorIndex]


class Indexes:
    """Finds, loads and forgets indexes."""

    def __init__(self, database: Database, most_bytes: int) -> None:
        self._database = database
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._entries: OrderedDict[int, _Entry] = OrderedDict()
        self._small = ThreadPoolExecutor(1, "memory index", one_thread_each)
        self._large = ThreadPoolExecutor(1, "memory large index", one_thread_each)

    def close(self) -> None:
        """Wait for what is being made."""
        self._small.shutdown(cancel_futures=True)
        self._large.shutdown(cancel_futures=True)

    @property
    def bytes(self) -> int:
        """What all of them take, about."""
        with self._lock:
            return self._bytes()

    def note(self, changes: tuple[Change, ...]) -> None:
        """Take changes over that are on the disk; from the writer's thread, in the order of the commits."""
        with self._lock:
            for change in changes:
                entry = self._entries.get(change.space)
                if entry is not None:
                    entry.note(change)

    def ready(self, space: int, items: int, encoder: Encoder) -> Executing:
        """The index of a namespace that has so many items, about; loaded if it is not there."""
        with self._lock:
            entry = self._entries.get(space)
            if entry is None or entry.encoder != encoder or entry.stale:
                entry = self._entries[space] = _Entry(encoder, Future())
                executor = self._large if items >= LARGE else self._small
                executor.submit(self._load, space, entry)
            self._entries.move_to_end(space)
            return entry.loading

    def used(self, space: int, index: VectorIndex) -> None:
        """A search is done: rebuild the index beside it, if it wants that."""
        with self._lock:
            entry = self._entries.get(space)
            if entry is None or entry.index is not index or entry.rebuilding or not index.wants_rebuild:
                return
            entry.rebuilding = True
            self._large.submit(self._rebuild, entry, index)

    # --- in the threads that make indexes

    def _load(self, space: int, entry: _Entry) -> None:
        try:
            index = self._read(space, entry.encoder)
        except BaseException as error:  # noqa: BLE001 (whoever waits for the index gets it, whatever it is)
            with self._lock:
                if self._entries.get(space) is entry:
                    del self._entries[space]
            entry.loading.set_exception(error)
            return
        with self._lock:
            for change in entry.noted:
                index.note(change)
            index.stale = len(entry.noted) > MOST_NOTED
            entry.noted, entry.index = [], index
            self._shrink(space)
        entry.loading.set_result(index)

    def _read(self, space: int, encoder: Encoder) -> VectorIndex:
        rows = self._database.read(lambda connection: list(vectors_of(connection, space, encoder.id)))
        vectors = np.frombuffer(b"".join(vector for _, vector in rows), dtype=np.float16)
        revisions = np.fromiter((revision for revision, _ in rows), dtype=np.int64, count=len(rows))
        alive = np.ones(len(rows), dtype=np.bool_)
        snapshot = Snapshot(vectors.reshape(-1, encoder.dimensions), revisions, alive)
        return rebuilt(encoder.dimensions, snapshot)

    def _rebuild(self, entry: _Entry, index: VectorIndex) -> None:
        with index.lock:
            snapshot = index.snapshot()
        built = rebuilt(entry.encoder.dimensions, snapshot)
        with index.lock:
            index.take_over(built)
        with self._lock:
            entry.rebuilding = False

    # --- under the lock

    def _bytes(self) -> int:
        return sum(entry.index.bytes for entry in self._entries.values() if entry.index is not None)

    def _shrink(self, keep: int) -> None:
        for space in list(self._entries):
            if self._bytes() <= self._most_bytes:
                return
            if space != keep and self._entries[space].index is not None:
                del self._entries[space]


def one_thread_each() -> None:
    """Let faiss use the calling thread alone: the other cores are the engine's."""
    faiss.omp_set_num_threads(1)
