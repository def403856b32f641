"""What the audit log holds: entries as the kernel notes them, and records as they are kept.

It does not know files or chains. Rule: contents of contexts are in neither, only their digests.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from msgspec import Struct

LONGEST = 512
"""Characters of a text in a record; the rest is cut, because callers choose some of them."""


class Kind(StrEnum):
    """What a record is about."""

    CALL = "call"
    DENIAL = "denial"
    REFUSAL = "refusal"
    """A handshake whose key is not accepted."""
    STRIKE = "strike"
    KEY = "key"
    POLICY = "policy"
    PREEMPTION = "preemption"
    """Pages of one principal's process left the device for another's."""
    DAEMON = "daemon"
    SEGMENT = "segment"
    """The first record of a file."""
    SUMMARY = "summary"
    """Many different entries of one principal in a short time, as a number."""


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One thing to note. The same object noted again is a repetition, which is counted.

    `owner` is whose object it is when it is not the principal's own; `object_tenant` the tenant that it belongs to;
    `attributes` what the call asked for; `denial` the id that the caller was told.
    """

    kind: Kind
    principal: str = ""
    role: str = ""
    tenant: str = ""
    action: str = ""
    object: str = ""
    owner: str = ""
    object_tenant: str = ""
    attributes: str = ""
    outcome: str = "ok"
    digest: str = ""
    detail: str = ""
    denial: str = ""


class AuditRecord(Struct, frozen=True, omit_defaults=True):
    """An entry as it is kept: the `n`th record, from `at` to `until` (seconds since the epoch), `count` times."""

    n: int
    at: float
    kind: Kind
    principal: str = ""
    role: str = ""
    tenant: str = ""
    action: str = ""
    object: str = ""
    owner: str = ""
    object_tenant: str = ""
    attributes: str = ""
    outcome: str = "ok"
    digest: str = ""
    detail: str = ""
    denial: str = ""
    count: int = 1
    until: float | None = None


def record_of(entry: Entry, n: int, at: float, count: int = 1, until: float | None = None) -> AuditRecord:
    """The record of an entry. Moments become floats: a whole number would be written in other bytes than it is read."""
    return AuditRecord(
        n=n,
        at=float(at),
        kind=entry.kind,
        principal=_cut(entry.principal),
        role=_cut(entry.role),
        tenant=_cut(entry.tenant),
        action=_cut(entry.action),
        object=_cut(entry.object),
        owner=_cut(entry.owner),
        object_tenant=_cut(entry.object_tenant),
        attributes=_cut(entry.attributes),
        outcome=_cut(entry.outcome),
        digest=_cut(entry.digest),
        detail=_cut(entry.detail, 2 * LONGEST),
        denial=_cut(entry.denial),
        count=count,
        until=float(until) if until is not None and count > 1 else None,
    )


def _cut(text: str, longest: int = LONGEST) -> str:
    """A text as it can be written: names of files can hold what is no Unicode."""
    text = text[:longest]
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
