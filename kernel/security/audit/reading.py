"""Reading the log while it is written: by number, from its end, by time, and a denial by its id.

It verifies nothing. Rule: a line that is not complete yet is not there yet.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import msgspec

from llmos.kernel.core.principal import SYSTEM
from llmos.kernel.security.audit.chain import (
    BadLine,
    complete_lines,
    decode_line,
    first_of,
    reversed_lines,
    segments,
)
from llmos.kernel.security.audit.record import AuditRecord, Kind
from llmos.syscalls.abi.errors import InvalidArgument


def read(
    folder: Path, after: int, limit: int, tenant: str | None = None, kinds: frozenset[Kind] | None = None
) -> list[AuditRecord]:
    """Records with numbers above `after`, oldest first. Raises `InvalidArgument` for a damaged log."""
    found = segments(folder)
    later = [path for path, following in zip(found, [*found[1:], None], strict=False) if _reaches(following, after)]
    records = (record for path in later for record in _records(path) if record.n > after)
    return list(islice((record for record in records if fits(record, tenant, kinds)), limit))


def last(
    folder: Path, limit: int, tenant: str | None = None, kinds: frozenset[Kind] | None = None
) -> list[AuditRecord]:
    """The newest records, oldest first. Reads backwards, no further than it must."""
    records = (record for path in reversed(segments(folder)) for record in _reversed_records(path))
    found = list(islice((record for record in records if fits(record, tenant, kinds)), limit))
    return found[::-1]


def since(folder: Path, at: float) -> Iterator[AuditRecord]:
    """Records that are about this moment or later ones."""
    found = segments(folder)
    for path, following in zip(found, [*found[1:], None], strict=False):
        if following is None or _begun(following) >= at:
            yield from (record for record in _records(path) if (record.until or record.at) >= at)


def find_denial(folder: Path, denial: str) -> AuditRecord | None:
    """The newest record of a denial; None when there is none."""
    wanted = msgspec.json.encode(denial)
    for path in reversed(segments(folder)):
        for record in _reversed_records(path, wanted):
            if record.kind is Kind.DENIAL and record.denial == denial:
                return record
    return None


def fits(record: AuditRecord, tenant: str | None, kinds: frozenset[Kind] | None) -> bool:
    """Whether a record is of one of the kinds, and a tenant's: what its people did, and what those above tenants did
    to its things. None asks for all.
    """
    if kinds is not None and record.kind not in kinds:
        return False
    return tenant in (None, record.tenant) or (record.object_tenant == tenant and record.tenant == SYSTEM)


def _reaches(following: Path | None, after: int) -> bool:
    """Whether a file has a record above `after`: the next one begins beyond the next number."""
    return following is None or first_of(following) > after + 1


def _begun(segment: Path) -> float:
    """When a file was begun: everything in the one before it is about earlier moments."""
    first = next(_records(segment), None)
    return first.at if first is not None else math.inf


def _records(path: Path) -> Iterator[AuditRecord]:
    for number, line in enumerate(complete_lines(path), 1):
        try:
            yield decode_line(line).record
        except BadLine as error:
            raise _damaged(f"{path.name}:{number}: {error}") from None


def _reversed_records(path: Path, wanted: bytes = b"") -> Iterator[AuditRecord]:
    """The records of a file whose lines have these bytes, newest first."""
    try:
        yield from (decode_line(line).record for line in reversed_lines(path) if wanted in line)
    except BadLine as error:
        raise _damaged(f"{path.name}: {error}") from None


def _damaged(reason: str) -> InvalidArgument:
    return InvalidArgument(reason, "llmosctl audit verify")
