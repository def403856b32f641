"""A memory on a real database, with vectors of the encoder without a model, asked and answered in one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from llmos.drivers.simulator.encoder import DIMENSIONS, simulated_vector
from llmos.drivers.store.memory.futures import done
from llmos.drivers.store.memory.quotas import DEFAULT_QUOTAS, Quotas
from llmos.drivers.store.memory.store import INDEX_BYTES, MemoryStore
from llmos.kernel.ports.encoder import Embedding
from llmos.kernel.ports.memory import Context, Draft, Question, TakenBack
from llmos.syscalls.abi.memory import Filter, MemoryRecord, Scalar, SearchMode
from llmos.syscalls.abi.words import Pid

NOTES = "alice/notes"
PATIENCE = 60.0


def embedding(*texts: str, fingerprint: str = "simulated") -> Embedding:
    """Vectors of texts."""
    vectors = b"".join(simulated_vector(text) for text in texts)
    return Embedding("sim", fingerprint, DIMENSIONS, vectors, (1,) * len(texts))


def context(pid: int, principal: str = "alice") -> Context:
    """A process."""
    return Context(Pid(pid), principal, "default")


class House:
    """A memory, and the time there."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.now = 1000.0
        self.made = 0

    def put(
        self,
        text: str,
        id: str | None = None,
        metadata: Mapping[str, Scalar] | None = None,
        namespace: str = NOTES,
        pid: int | None = None,
        expires: float | None = None,
        expected: int | None = None,
        embedded: bool = True,
    ) -> MemoryRecord:
        """Write, a second later."""
        self.now += 1
        self.made += 1
        draft = Draft(
            namespace=namespace,
            id=id or f"item-{self.made}",
            text=text,
            author=namespace.partition("/")[0],
            metadata=metadata or {},
            expires=None if expires is None else self.now + expires,
            context=None if pid is None else context(pid),
            expected=expected,
        )
        return self.store.put(draft, embedding(text) if embedded else None, self.now).result(PATIENCE)

    def fill(self, count: int, text: str, metadata: Mapping[str, Scalar]) -> None:
        """Write many of a kind, together."""
        self.made += 1
        drafts = [Draft(NOTES, f"{self.made}-{n}", text, "alice", metadata) for n in range(count)]
        vector = embedding(text)
        for future in [self.store.put(draft, vector, self.now) for draft in drafts]:
            future.result(PATIENCE)

    def get(self, id: str, version: int | None = None, pid: int | None = None, namespace: str = NOTES) -> MemoryRecord:
        """Read one."""
        read = None if pid is None else context(pid)
        return self.store.get(namespace, id, version, read, self.now).result(PATIENCE)

    def search(
        self,
        query: str,
        limit: int = 10,
        where: tuple[Filter, ...] = (),
        mode: SearchMode = SearchMode.HYBRID,
        namespace: str = NOTES,
        pid: int | None = None,
        fingerprint: str = "simulated",
    ) -> list[MemoryRecord]:
        """Find some."""
        read = None if pid is None else context(pid)
        question = Question(namespace, query, limit, mode, where, read)
        vector: Future[Embedding | None] = done(embedding(query, fingerprint=fingerprint))
        return list(self.store.search(question, vector, self.now).result(PATIENCE).records)

    def ids(self, query: str, mode: SearchMode = SearchMode.HYBRID, where: tuple[Filter, ...] = ()) -> list[str]:
        """What a search finds."""
        return [record.id for record in self.search(query, where=where, mode=mode)]

    def listed(self, *where: Filter, namespace: str = NOTES) -> list[str]:
        """What a list has."""
        return [one.id for one in self.store.list(namespace, where, 1000, None, self.now).result(PATIENCE).records]

    def history(self, id: str) -> list[int]:
        """The numbers of an item's versions."""
        return [one.version for one in self.store.history(NOTES, id, 1000, None, self.now).result(PATIENCE).records]

    def forget(self, id: str | None = None, *where: Filter, namespace: str = NOTES) -> tuple[int, int]:
        """How many items and versions are gone."""
        gone = self.store.forget(namespace, id, where, self.now).result(PATIENCE)
        return gone.items, gone.versions

    def rollback(self, id: str, version: int) -> TakenBack:
        """Take versions back."""
        return self.store.rollback(NOTES, id, version, "alice", self.now).result(PATIENCE)


@contextmanager
def memory_house(
    folder: Path,
    quotas: Quotas = DEFAULT_QUOTAS,
    index_bytes: int = INDEX_BYTES,
) -> Iterator[House]:
    """A memory in this folder."""
    store = MemoryStore(folder / "memory.db", quotas, index_bytes)
    try:
        yield House(store)
    finally:
        store.close()
