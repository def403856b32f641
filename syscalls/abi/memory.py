"""Requests and replies of long-term memory; `table` says which belongs to which.

A namespace is named `NAME` (the caller's own), `OWNER/NAME` (a principal's, an app's) or `@TENANT/NAME` (shared by a
tenant). Times are seconds since the epoch.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, field

from llmos.syscalls.abi.words import Count, PidField, Record, Seconds

DEFAULT_NAMESPACE = "default"

OwnedName = Annotated[str, Meta(min_length=1, max_length=130)]
"""`NAME`, `OWNER/NAME` or `@TENANT/NAME`: names of principals, and beside them letters, digits and . _ @ -"""

MemoryId = Annotated[str, Meta(min_length=1, max_length=64)]
MemoryText = Annotated[str, Meta(max_length=1 << 18)]
MetadataKey = Annotated[str, Meta(min_length=1, max_length=64)]
Integer = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
Finite = Annotated[float, Meta(ge=-1.7976931348623157e308, le=1.7976931348623157e308)]
Scalar = bool | Integer | Finite | Annotated[str, Meta(max_length=4096)]
Metadata = Annotated[dict[MetadataKey, Scalar], Meta(max_length=64)]
Version = Annotated[int, Meta(ge=1, lt=1 << 53)]
PageSize = Annotated[int, Meta(ge=1, le=1000)]


class Trust(StrEnum):
    """Where a text comes from, as far as it can be trusted: what is external may hold instructions of strangers."""

    USER = "user"
    AGENT = "agent"
    TOOL = "tool"
    EXTERNAL = "external"


class Comparison(StrEnum):
    """How a filter compares a value of the metadata with its own."""

    EQUAL = "="
    DIFFERENT = "!="
    LESS = "<"
    AT_MOST = "<="
    MORE = ">"
    AT_LEAST = ">="
    AMONG = "in"


class SearchMode(StrEnum):
    """By words, by meaning, or by both, fused by reciprocal rank."""

    HYBRID = "hybrid"
    TEXT = "text"
    VECTOR = "vector"


class Filter(Record, frozen=True):
    """A condition on the metadata; `values` has one value, or for `in` up to 64. A record without the key does not
    fit, except for `!=`.
    """

    key: MetadataKey
    values: Annotated[tuple[Scalar, ...], Meta(min_length=1, max_length=64)]
    comparison: Comparison = Comparison.EQUAL


Filters = Annotated[tuple[Filter, ...], Meta(max_length=16)]


class MemoryRecord(Record, frozen=True):
    """One version of one item. `author` is the principal who wrote it, `source` the process it was written for.

    `score` is that of a search, higher is better; `expires` is when it will be forgotten.
    """

    id: str
    namespace: str
    version: int
    text: str
    metadata: dict[str, Scalar]
    author: str
    trust: Trust
    created: float
    updated: float
    source: int | None = None
    expires: float | None = None
    score: float | None = None


class MemoryPut(Record, frozen=True):
    """Write an item: a new one, or with an `id` its next version. `expires` in seconds from now.

    `pid` is the process that writes: what it has read from memory becomes what this version was derived from.
    `expected` is the version that must be the latest (0: there must be none), else EBUSY.
    """

    text: MemoryText
    namespace: OwnedName | None = None
    metadata: Metadata = field(default_factory=dict)
    id: MemoryId | None = None
    pid: PidField | None = None
    trust: Trust = Trust.USER
    expires: Seconds | None = None
    expected: Count | None = None


class MemoryGet(Record, frozen=True):
    """Read an item, its latest version or an older one. `pid` is the process that reads it, for the lineage."""

    id: MemoryId
    namespace: OwnedName | None = None
    version: Version | None = None
    pid: PidField | None = None


class MemorySearch(Record, frozen=True):
    """Find items, best first. `pid` is the process that reads what is found."""

    query: Annotated[str, Meta(min_length=1, max_length=1 << 14)]
    namespace: OwnedName | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 10
    where: Filters = ()
    mode: SearchMode = SearchMode.HYBRID
    pid: PidField | None = None


class MemoryRecords(Record, frozen=True):
    """Items; `after` goes on from here when there are more."""

    records: tuple[MemoryRecord, ...]
    after: str | None = None


class MemoryList(Record, frozen=True):
    """List items in the order of their making."""

    namespace: OwnedName | None = None
    where: Filters = ()
    limit: PageSize = 100
    after: MemoryId | None = None


class MemoryForget(Record, frozen=True):
    """Erase items with all their versions and vectors: one by its id, or all that fit the filters.

    Without id and filters: EINVAL, unless `all`.
    """

    namespace: OwnedName | None = None
    id: MemoryId | None = None
    where: Filters = ()
    all: bool = False


class Forgotten(Record, frozen=True):
    """How many items, and versions of them, are gone."""

    items: int
    versions: int


class MemoryHistory(Record, frozen=True):
    """List versions of an item, latest first: those before `after`."""

    id: MemoryId
    namespace: OwnedName | None = None
    limit: PageSize = 100
    after: Version | None = None


class MemoryVersions(Record, frozen=True):
    """Versions; `after` goes on from here when there are more."""

    records: tuple[MemoryRecord, ...]
    after: Version | None = None


class MemoryRollback(Record, frozen=True):
    """Make an older version the latest again, as a new version."""

    id: MemoryId
    version: Version
    namespace: OwnedName | None = None


class Derived(Record, frozen=True):
    """What came of a version that was taken back: a context that read it, or an item that such a process wrote.

    One of `pid` and `id` is set; `at` is when.
    """

    version: int
    at: float
    pid: int | None = None
    namespace: str | None = None
    id: str | None = None


class RolledBack(Record, frozen=True):
    """The item as it is now, and what was derived from the versions that were taken back, oldest first."""

    record: MemoryRecord
    derived: tuple[Derived, ...]
