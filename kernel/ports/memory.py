"""The port to long-term memory: items with versions, found by words and by meaning, with the lineage of what was read.

A namespace is `OWNER/NAME`, the owner a principal or `@TENANT`. Every method returns at once; its future is done in
another thread, with an abi error for the caller's fault and `DeviceError` for the disk's. What a future has
acknowledged is on the disk, and a search that begins after it sees it. Times are seconds since the epoch; `now` is
given by the caller, and what has expired by then does not exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from llmos.kernel.ports.encoder import Embedding
from llmos.syscalls.abi.memory import (
    Filter,
    Forgotten,
    MemoryRecord,
    MemoryRecords,
    MemoryVersions,
    Scalar,
    SearchMode,
    Trust,
)
from llmos.syscalls.abi.words import Pid


@dataclass(frozen=True, slots=True)
class Context:
    """A process that reads from memory or writes to it, and whose it is."""

    pid: Pid
    principal: str
    tenant: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A version to be written. `expected` is the number that the latest must have, 0 for none."""

    namespace: str
    id: str
    text: str
    author: str
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
    trust: Trust = Trust.USER
    expires: float | None = None
    context: Context | None = None
    expected: int | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """A search: the `limit` best items that fit."""

    namespace: str
    query: str
    limit: int
    mode: SearchMode
    where: tuple[Filter, ...] = ()
    context: Context | None = None


@dataclass(frozen=True, slots=True)
class ContextTrace:
    """A context that read a version that was taken back."""

    context: Context
    version: int
    at: float


@dataclass(frozen=True, slots=True)
class ItemTrace:
    """A version that was written by a process that had read one that was taken back."""

    namespace: str
    id: str
    version: int
    at: float


Trace = ContextTrace | ItemTrace


@dataclass(frozen=True, slots=True)
class TakenBack:
    """The item as it is now, and what was derived from the versions that were taken back, oldest first."""

    record: MemoryRecord
    traces: tuple[Trace, ...]


@dataclass(frozen=True, slots=True)
class Unembedded:
    """The latest version of an item, which has no vector of the encoder that is in use."""

    revision: int
    text: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What there is in all namespaces, and how much memory the indexes take."""

    items: int
    versions: int
    bytes: int
    unembedded: int
    index_bytes: int


class MemoryWriter(Protocol):
    """What changes it."""

    def put(self, draft: Draft, vector: Embedding | None, now: float) -> Future[MemoryRecord]:
        """Write a version, with the vector of its text if there is one. Raises `Busy`, `LimitExceeded`."""
        ...

    def rollback(self, namespace: str, id: str, version: int, author: str, now: float) -> Future[TakenBack]:
        """Make an older version the latest, as a new one. Raises `NotFound`, `InvalidArgument`, `LimitExceeded`."""
        ...

    def forget(self, namespace: str, id: str | None, where: tuple[Filter, ...], now: float) -> Future[Forgotten]:
        """Erase one item, or all that fit, so that the file holds nothing of them. Raises `NotFound` for the one."""
        ...

    def inherit(self, parent: Pid, children: tuple[Context, ...], now: float) -> None:
        """The children have the context of their parent, with all that it has read."""
        ...

    def sweep(self, now: float) -> Future[int]:
        """Erase some of what has expired; how many items."""
        ...


class MemoryReader(Protocol):
    """What reads it. With a context it is remembered, before the answer, what that has read."""

    def get(
        self, namespace: str, id: str, version: int | None, context: Context | None, now: float
    ) -> Future[MemoryRecord]:
        """One version, the latest if none is named. Raises `NotFound`."""
        ...

    def list(
        self, namespace: str, where: tuple[Filter, ...], limit: int, after: str | None, now: float
    ) -> Future[MemoryRecords]:
        """Items in the order of their making. Raises `InvalidArgument` for an `after` that is no item."""
        ...

    def history(self, namespace: str, id: str, limit: int, after: int | None, now: float) -> Future[MemoryVersions]:
        """Versions of an item, latest first, those before `after`. Raises `NotFound`."""
        ...

    def search(self, question: Question, vector: Future[Embedding | None], now: float) -> Future[MemoryRecords]:
        """The items that fit, best first. `vector` is the query's; with None the search is by words alone, and when
        that is not what was asked for it finds nothing. Its error is the search's.
        """
        ...

    def usage(self) -> Future[Usage]:
        """What there is."""
        ...


class MemoryFiller(Protocol):
    """What gives vectors to what was written without."""

    def unembedded(self, limit: int) -> Future[tuple[Unembedded, ...]]:
        """Some of the latest versions that have no vector of the encoder in use."""
        ...

    def fill(self, revisions: tuple[int, ...], vectors: Embedding) -> Future[int]:
        """Give them their vectors; those that are not the latest any more get none. How many got one.

        Vectors of another encoder than before make that the one in use, and all others count as unembedded. With no
        revisions it only says which encoder that is.
        """
        ...


class Memory(MemoryWriter, MemoryReader, MemoryFiller, Protocol):
    """All of it."""

    def close(self) -> None:
        """Finish what was begun, and close the file."""
        ...
