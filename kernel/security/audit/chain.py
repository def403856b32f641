"""The chain: every record's hash covers the record before it.

A line is the record's JSON with one more member at its end, `hash`: 64 hex digits of BLAKE2b-256 over the previous
record's hash (32 bytes; zeros before the first) followed by the JSON without that member. So a verifier works on the
bytes of the file alone. A file of the log, a segment, is named by the number of its first record, which is of the kind
`segment` and names the hash before it.

Nothing here is lenient: a line that says the same in other bytes is no record.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import msgspec

from llmos.kernel.security.audit.record import AuditRecord

START = bytes(32)
"""The hash before the first record."""

LONGEST_LINE = 1 << 17
"""Bytes; no record is that long, so reading a damaged file takes no more memory than this."""

_BLOCK = 1 << 16
_AFTER = "after "
_MEMBER = b',"hash":"'
_TAIL = len(_MEMBER) + 64 + 2
_SEGMENT = re.compile(r"audit-(\d{12})\.jsonl")
_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(AuditRecord)


class BadLine(Exception):
    """A line that is no record of a chain."""


@dataclass(frozen=True, slots=True)
class Link:
    """A line, taken apart: the record, its JSON without the hash, and the hash that it claims."""

    record: AuditRecord
    body: bytes
    claimed: bytes


def hash_of(previous: bytes, body: bytes) -> bytes:
    """The hash of a record whose JSON is `body`."""
    return blake2b(previous + body, digest_size=32).digest()


def encode_line(previous: bytes, record: AuditRecord) -> tuple[bytes, bytes]:
    """The line of a record, its newline included, and the record's hash."""
    body = _ENCODER.encode(record)
    digest = hash_of(previous, body)
    return body[:-1] + _MEMBER + digest.hex().encode() + b'"}\n', digest


def decode_line(line: bytes) -> Link:
    """Take a line apart, with or without its newline. Raises `BadLine`."""
    line = line.removesuffix(b"\n")
    head, tail = line[:-_TAIL], line[-_TAIL:]
    if not (tail.startswith(_MEMBER) and tail.endswith(b'"}')):
        raise BadLine("it does not end in a hash")
    body = head + b"}"
    try:
        digest = tail[len(_MEMBER) : -2].decode("ascii")
        claimed = bytes.fromhex(digest)
        record = _DECODER.decode(body)
    except (ValueError, msgspec.DecodeError) as error:
        raise BadLine(f"it is no record: {error}") from None
    if claimed.hex() != digest or _ENCODER.encode(record) != body:
        raise BadLine("it is not written as records are")
    return Link(record, body, claimed)


def segment_name(first: int) -> str:
    """The name of the file that begins with record `first`."""
    return f"audit-{first:012d}.jsonl"


def segments(folder: Path) -> list[Path]:
    """The files of a log, oldest first."""
    return sorted(path for path in folder.iterdir() if _SEGMENT.fullmatch(path.name))


def first_of(segment: Path) -> int:
    """The number of the first record of a file, from its name."""
    match = _SEGMENT.fullmatch(segment.name)
    if match is None:
        raise ValueError(f"{segment} is no file of an audit log")
    return int(match[1])


def segment_detail(previous: bytes) -> str:
    """What the first record of a segment says: the hash before it."""
    return f"{_AFTER}{previous.hex()}"


def hash_before(first: Link) -> bytes:
    """The hash before a segment, as its first record says. Raises `BadLine`."""
    detail = first.record.detail
    try:
        previous = bytes.fromhex(detail.removeprefix(_AFTER))
    except ValueError:
        previous = b""
    if len(previous) != len(START) or detail != segment_detail(previous):
        raise BadLine("it does not say what was before this segment")
    return previous


def complete_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file that end in a newline: the last one may be under way. One that is too long comes in parts."""
    with path.open("rb") as file:
        while line := file.readline(LONGEST_LINE):
            if line.endswith(b"\n") or len(line) == LONGEST_LINE:
                yield line


def reversed_lines(path: Path) -> Iterator[bytes]:
    """The complete lines of a file from the last to the first, without newlines, read in blocks from its end.

    Raises `BadLine` for one that is too long.
    """
    with path.open("rb") as file:
        position = file.seek(0, os.SEEK_END)
        rest, ended = b"", False
        while position:
            size = min(_BLOCK, position)
            position = file.seek(position - size)
            rest, *lines = (file.read(size) + rest).split(b"\n")
            if len(rest) > LONGEST_LINE:
                raise BadLine("it is longer than any record")
            # What follows the last newline of the file is no complete line.
            yield from reversed(lines if ended else lines[:-1])
            ended = ended or bool(lines)
        if ended:
            yield rest
