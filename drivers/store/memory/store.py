"""Long-term memory on the disk (`Memory`): one database, its vector indexes, and the threads that search.

Writes go through the database's one writer; indexes hear of a commit before anybody else does. Reads and searches run
in a few threads of their own. What was forgotten is gone from the file when that is answered: pages, full-text index
and vectors are overwritten with the commit, and the write-ahead log is emptied after it, unless a reader that is under
way still needs it; then the next sweep does that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import apsw

from llmos.drivers.store.database import Database
from llmos.drivers.store.memory import lineage, reading, searching, vectors, writing
from llmos.drivers.store.memory.changes import Done
from llmos.drivers.store.memory.filters import check_filters
from llmos.drivers.store.memory.frequencies import Frequencies
from llmos.drivers.store.memory.futures import done, then
from llmos.drivers.store.memory.indexes import Indexes, one_thread_each
from llmos.drivers.store.memory.quotas import DEFAULT_QUOTAS, Quotas
from llmos.drivers.store.memory.schema import SCHEMA, prepare
from llmos.drivers.store.memory.vector_index import VectorIndex
from llmos.drivers.store.memory.words import Hit
from llmos.kernel.ports.encoder import Embedding
from llmos.kernel.ports.memory import Context, Draft, Question, TakenBack, Unembedded, Usage
from llmos.syscalls.abi.memory import Filter, Forgotten, MemoryRecord, MemoryRecords, MemoryVersions
from llmos.syscalls.abi.words import Pid

Result = TypeVar("Result")

SEARCHERS = 2
INDEX_BYTES = 1 << 30


class MemoryStore:
    """An open memory."""

    def __init__(self, path: Path, quotas: Quotas = DEFAULT_QUOTAS, index_bytes: int = INDEX_BYTES) -> None:
        """Open it, or make it. Raises `InvalidArgument` for a damaged file, `DeviceError`."""
        self._database = Database(path, SCHEMA)
        self._database.write(prepare).result()
        self._quotas = quotas
        self._indexes = Indexes(self._database, index_bytes)
        self._threads = ThreadPoolExecutor(SEARCHERS, "memory search", one_thread_each)
        self._frequencies = Frequencies()
        self._readers = self._database.read(lineage.readers)
        self._log_full = False
        """Something that was erased may still be in the write-ahead log."""

    def close(self) -> None:
        """Finish what was begun. May be called twice."""
        self._threads.shutdown()
        self._indexes.close()
        self._database.close()

    # --- writing

    def put(self, draft: Draft, vector: Embedding | None, now: float) -> Future[MemoryRecord]:
        """See `MemoryWriter`."""
        return self._write(lambda connection: writing.put(connection, draft, vector, self._quotas, now))

    def rollback(self, namespace: str, id: str, version: int, author: str, now: float) -> Future[TakenBack]:
        """See `MemoryWriter`."""
        return self._write(
            lambda connection: writing.rollback(connection, namespace, id, version, author, self._quotas, now)
        )

    def forget(self, namespace: str, id: str | None, where: tuple[Filter, ...], now: float) -> Future[Forgotten]:
        """See `MemoryWriter`. Many are erased in several transactions."""
        check_filters(where)

        def some() -> Future[Forgotten]:
            return self._write(lambda connection: writing.forget(connection, namespace, id, where, now))

        def rest(so_far: Forgotten, last: Forgotten) -> Future[Forgotten]:
            if id is not None or last.items < writing.AT_ONCE:
                return done(so_far)
            return then(some(), lambda more: rest(_sum(so_far, more), more))

        return self._emptied(then(some(), lambda first: rest(first, first)))

    def inherit(self, parent: Pid, children: tuple[Context, ...], now: float) -> None:
        """See `MemoryWriter`."""
        if parent in self._readers:
            self._readers.update(child.pid for child in children)
            self._database.write(lambda connection: lineage.inherit(connection, parent, children, now))

    def sweep(self, now: float) -> Future[int]:
        """See `MemoryWriter`."""
        swept = self._write(lambda connection: writing.sweep(connection, now))
        return then(swept, lambda count: self._emptied(done(count)) if count or self._log_full else done(count))

    # --- reading

    def get(
        self, namespace: str, id: str, version: int | None, context: Context | None, now: float
    ) -> Future[MemoryRecord]:
        """See `MemoryReader`."""
        return self._look(lambda connection: reading.get(connection, namespace, id, version, context, now), context)

    def list(
        self, namespace: str, where: tuple[Filter, ...], limit: int, after: str | None, now: float
    ) -> Future[MemoryRecords]:
        """See `MemoryReader`."""
        check_filters(where)
        return self._look(lambda connection: reading.list_items(connection, namespace, where, limit, after, now), None)

    def history(self, namespace: str, id: str, limit: int, after: int | None, now: float) -> Future[MemoryVersions]:
        """See `MemoryReader`."""
        return self._look(lambda connection: reading.history(connection, namespace, id, limit, after, now), None)

    def usage(self) -> Future[Usage]:
        """See `MemoryReader`."""
        return self._look(lambda connection: reading.usage(connection, self._indexes.bytes), None)

    def search(self, question: Question, vector: Future[Embedding | None], now: float) -> Future[MemoryRecords]:
        """See `MemoryReader`. The words are looked up, and the index is made ready, while the vector is made."""
        check_filters(question.where)
        begun = self._look(lambda connection: searching.begin(connection, question, self._frequencies, now), None)
        return then(begun, lambda begun: self._finish(question, begun, vector, now))

    def _finish(
        self, question: Question, begun: searching.Begun | None, vector: Future[Embedding | None], now: float
    ) -> Future[MemoryRecords]:
        if begun is None:
            return then(vector, lambda _: done(MemoryRecords(())))
        place = begun.place
        if place.encoder is None:
            return then(vector, lambda _: self._by_words(question, begun, now))
        ready = self._indexes.ready(place.space, place.items, place.encoder)

        def compare(vector: Embedding | None) -> Future[MemoryRecords]:
            if vector is None or not place.compares(vector):
                return self._by_words(question, begun, now)
            return then(ready, lambda index: self._fuse(question, begun, vector, index, now))

        return then(vector, compare)

    def _by_words(self, question: Question, begun: searching.Begun, now: float) -> Future[MemoryRecords]:
        return self._take(question, begun, lambda connection: searching.without_meaning(question, begun), now)

    def _fuse(
        self, question: Question, begun: searching.Begun, vector: Embedding, index: VectorIndex, now: float
    ) -> Future[MemoryRecords]:
        taken = self._take(
            question,
            begun,
            lambda connection: searching.finish(connection, question, begun, vector, index, now),
            now,
        )
        taken.add_done_callback(lambda _: self._indexes.used(begun.place.space, index))
        return taken

    def _take(
        self, question: Question, begun: searching.Begun, rank: Callable[[apsw.Connection], Sequence[Hit]], now: float
    ) -> Future[MemoryRecords]:
        """The records of what `rank` gives; for a context the writer takes them, so that what was read is noted."""

        def take(connection: apsw.Connection, hits: Sequence[Hit]) -> MemoryRecords:
            return MemoryRecords(searching.take(connection, question, begun.place, hits, now))

        if question.context is None:
            return self._look(lambda connection: take(connection, rank(connection)), None)
        ranked = self._look(rank, None)
        return then(ranked, lambda hits: self._look(lambda connection: take(connection, hits), question.context))

    # --- filling

    def unembedded(self, limit: int) -> Future[tuple[Unembedded, ...]]:
        """See `MemoryFiller`."""
        return self._look(lambda connection: vectors.unembedded(connection, limit), None)

    def fill(self, revisions: tuple[int, ...], embedding: Embedding) -> Future[int]:
        """See `MemoryFiller`."""
        return self._write(lambda connection: vectors.fill(connection, revisions, embedding))

    # --- inside

    def _write(self, work: Callable[[apsw.Connection], Done[Result]]) -> Future[Result]:
        """Commit the work, then tell the indexes, then whoever waits."""
        written = self._database.write(work)

        def told(finished: Done[Result]) -> Future[Result]:
            self._indexes.note(finished.changes)
            return done(finished.result)

        return then(written, told)

    def _look(self, work: Callable[[apsw.Connection], Result], context: Context | None) -> Future[Result]:
        """Read in a thread of the searchers; what a context reads is written down with it, by the writer."""
        if context is not None:
            self._readers.add(context.pid)
            return self._write(lambda connection: Done(work(connection)))
        return self._threads.submit(self._database.read, work)

    def _emptied(self, erased: Future[Result]) -> Future[Result]:
        """Empty the write-ahead log after something was erased."""

        def empty(result: Result) -> Future[Result]:
            return then(self._threads.submit(self._database.empty_log), lambda empty: note(result, empty))

        def note(result: Result, empty: bool) -> Future[Result]:
            self._log_full = not empty
            return done(result)

        return then(erased, empty)


def _sum(one: Forgotten, other: Forgotten) -> Forgotten:
    return Forgotten(one.items + other.items, one.versions + other.versions)
