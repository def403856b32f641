"""What the SDK's methods about memory mean on the wire; pure, as in `requests`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llmos.syscalls.abi import memory as m
from llmos.syscalls.abi.errors import InvalidArgument
from llmos.syscalls.sdk.requests import Invocation, build, itself

PAGE = 1000
"""Items that are listed at once, at most."""

Comparing = tuple[str, m.Scalar | Sequence[m.Scalar]]
Wanted = m.Scalar | Comparing | Sequence[m.Scalar] | Sequence[Comparing]
Where = Mapping[str, Wanted]
"""Conditions on the metadata: `{"lang": "en", "year": (">=", 2000), "tag": ["a", "b"]}`. A value must be equal, a list
holds it, a pair compares it (`=`, `!=`, `<`, `<=`, `>`, `>=`, `in`), and of several pairs in a list all must hold."""


def filters(where: Where | None) -> tuple[m.Filter, ...]:
    """The conditions as records. Raises `InvalidArgument`."""
    return tuple(one for key, wanted in (where or {}).items() for one in _filters(key, wanted))


def put(
    text: str,
    metadata: Mapping[str, m.Scalar] | None,
    namespace: str | None,
    id: str | None,
    pid: int | None,
    trust: str,
    expires: float | None,
    expected: int | None,
) -> Invocation[m.MemoryRecord, m.MemoryRecord]:
    """Gives the item as it is now."""
    request = build(
        m.MemoryPut,
        text=text,
        metadata=dict(metadata or {}),
        namespace=namespace,
        id=id,
        pid=pid,
        trust=trust,
        expires=expires,
        expected=expected,
    )
    return Invocation("mem.put", request, m.MemoryRecord, itself)


def get(
    id: str, namespace: str | None, version: int | None, pid: int | None
) -> Invocation[m.MemoryRecord, m.MemoryRecord]:
    """Gives one version."""
    request = build(m.MemoryGet, id=id, namespace=namespace, version=version, pid=pid)
    return Invocation("mem.get", request, m.MemoryRecord, itself)


def search(
    query: str, limit: int, where: Where | None, namespace: str | None, mode: str, pid: int | None
) -> Invocation[m.MemoryRecords, list[m.MemoryRecord]]:
    """Gives the best, with their scores."""
    request = build(
        m.MemorySearch, query=query, limit=limit, where=filters(where), namespace=namespace, mode=mode, pid=pid
    )
    return Invocation("mem.search", request, m.MemoryRecords, _records)


def list_items(
    namespace: str | None, where: Where | None, limit: int, after: str | None
) -> Invocation[m.MemoryRecords, m.MemoryRecords]:
    """Gives one page."""
    request = build(m.MemoryList, namespace=namespace, where=filters(where), limit=limit, after=after)
    return Invocation("mem.list", request, m.MemoryRecords, itself)


def page_size(limit: int | None) -> int:
    """How many to ask for at once when so many are wanted in all. Raises `InvalidArgument`."""
    if limit is not None and limit < 0:
        raise InvalidArgument(f"a limit of {limit} is none", "leave it out for all")
    return min(limit or PAGE, PAGE)


def forget(
    id: str | None, namespace: str | None, where: Where | None, all: bool
) -> Invocation[m.Forgotten, m.Forgotten]:
    """Gives how many items and versions are gone."""
    request = build(m.MemoryForget, id=id, namespace=namespace, where=filters(where), all=all)
    return Invocation("mem.forget", request, m.Forgotten, itself)


def history(
    id: str, namespace: str | None, limit: int, after: int | None
) -> Invocation[m.MemoryVersions, m.MemoryVersions]:
    """Gives the versions, latest first."""
    request = build(m.MemoryHistory, id=id, namespace=namespace, limit=limit, after=after)
    return Invocation("mem.history", request, m.MemoryVersions, itself)


def rollback(id: str, version: int, namespace: str | None) -> Invocation[m.RolledBack, m.RolledBack]:
    """Gives the item and what was derived from what was taken back."""
    request = build(m.MemoryRollback, id=id, version=version, namespace=namespace)
    return Invocation("mem.rollback", request, m.RolledBack, itself)


def _records(reply: m.MemoryRecords) -> list[m.MemoryRecord]:
    return list(reply.records)


def _filters(key: str, wanted: Wanted) -> list[m.Filter]:
    match wanted:
        case str() | bool() | int() | float():
            return [_filter(key, m.Comparison.EQUAL.value, wanted)]
        case (str() as comparison, value) if isinstance(wanted, tuple):
            return [_filter(key, comparison, value)]
        case [*pairs] if pairs and all(isinstance(pair, tuple) for pair in pairs):
            return [_filter(key, *pair) for pair in pairs if isinstance(pair, tuple)]
        case [*_]:
            return [_filter(key, m.Comparison.AMONG.value, wanted)]
        case _:
            raise InvalidArgument(f"the condition on {key!r} is a {type(wanted).__name__}", _CONDITIONS)


def _filter(key: str, comparison: str, value: object) -> m.Filter:
    several = isinstance(value, list | tuple | set | frozenset)
    if several and comparison != m.Comparison.AMONG:
        raise InvalidArgument(f"the condition on {key!r} compares by {comparison} with several values", _CONDITIONS)
    values = tuple(value) if isinstance(value, list | tuple | set | frozenset) else (value,)
    return build(m.Filter, key=key, values=values, comparison=comparison)


_CONDITIONS = 'a value, a list of values, or a pair such as (">=", 2000)'
