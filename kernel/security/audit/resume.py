"""Where a log goes on when it is opened again.

It verifies from the record that the head was signed for to the end; the rest is what `verify` is for. Rules: the head
must be signed by the key in use and be of the record that is there, so that nobody's changes are signed again by us;
nothing in the folder is changed before all was found in order; then what a crash tore off the last line is cut off.
Records that were complete stay, also those beyond the head.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llmos.kernel.security.audit.chain import (
    START,
    BadLine,
    Link,
    complete_lines,
    decode_line,
    first_of,
    hash_before,
    hash_of,
    segments,
)
from llmos.kernel.security.audit.signing import Head, Signer, is_signed, read_head
from llmos.syscalls.abi.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class End:
    """The newest record's number and hash, the file that it is in, and how many bytes of a torn one were cut off."""

    n: int
    hash: bytes
    segment: Path | None
    torn: int


def find_end(folder: Path, signer: Signer) -> End | None:
    """The end of the log in a folder, made fit to go on; None when there is none yet.

    Raises `InvalidArgument` when it is damaged.
    """
    head, found = read_head(folder), segments(folder)
    if head is None:
        if found:
            raise _damaged(folder, "its head is missing")
        return None
    if not is_signed(head, bytes.fromhex(signer.public)):
        raise _damaged(folder, "its head was not signed by the key in use")
    whole = found[:-1] if found and _whole_bytes(found[-1]) == 0 else found
    n, digest = _follow(folder, whole, head)
    torn = _cut_torn_line(found[-1]) if found else 0
    if len(whole) < len(found):
        # The crash came before the first record of a new segment.
        found[-1].unlink()
    return End(n, digest, whole[-1] if whole else None, torn)


def _follow(folder: Path, found: Sequence[Path], head: Head) -> tuple[int, bytes]:
    """Check the chain from the segment that has the head's record; number and hash of the last record."""
    start = max((i for i, path in enumerate(found) if first_of(path) <= max(head.n, 1)), default=len(found))
    if start == len(found) and found:
        raise _damaged(folder, f"it begins with record {first_of(found[0])}, record {max(head.n, 1)} is not there")
    n, previous, at_head = 0, START, START.hex() if head.n == 0 else ""
    for path in found[start:]:
        for number, line in enumerate(complete_lines(path), 1):
            try:
                link = decode_line(line)
                if n == 0 and path is found[start]:
                    n, previous = _before(path, link)
                _check(n, previous, link)
            except BadLine as error:
                raise _damaged(path, f"line {number}: {error}") from None
            n, previous = link.record.n, link.claimed
            at_head = previous.hex() if n == head.n else at_head
    if n < head.n:
        raise _damaged(folder, f"record {head.n} was there and is not any more")
    if at_head != head.hash:
        raise _damaged(folder, f"record {head.n} is not the one that the head was signed for")
    return n, previous


def _before(path: Path, link: Link) -> tuple[int, bytes]:
    """Number and hash of the record before a segment."""
    first = first_of(path)
    return (0, START) if first == 1 else (first - 1, hash_before(link))


def _check(n: int, previous: bytes, link: Link) -> None:
    if link.record.n != n + 1 or hash_of(previous, link.body) != link.claimed:
        raise BadLine("it does not follow the one before it")


def _whole_bytes(path: Path) -> int:
    """How many bytes of a file are complete lines."""
    return path.read_bytes().rfind(b"\n") + 1


def _cut_torn_line(path: Path) -> int:
    size, whole = path.stat().st_size, _whole_bytes(path)
    if whole < size:
        os.truncate(path, whole)
    return size - whole


def _damaged(path: Path, reason: str) -> InvalidArgument:
    return InvalidArgument(
        f"the audit log {path} is damaged: {reason}",
        "llmosctl audit verify says more; move the folder away to begin a new log",
    )
