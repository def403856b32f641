"""What the transcript of a session is made of, and how a record becomes a line of a file.

Pure. Rules: a line is a checksum, a space, JSON and a newline; what does not end in a newline, or does not match its
checksum, was torn by a crash, and nothing behind it counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from zlib import crc32

import msgspec

import llmos

_LINE: Final = re.compile(rb"([0-9a-f]{8}) (\S.*)\n\Z", re.DOTALL)


class How(StrEnum):
    """How a question is answered: by the model alone, by the model with tools, by the best of several answers of the
    model, or by a rule. A note is no question: a text that is put before the model.
    """

    ALONE = "alone"
    TOOLS = "tools"
    ALTERNATIVES = "alternatives"
    RULE = "rule"
    NOTE = "note"


class _Record(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Of a transcript."""


class Part(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tokens of a context with one origin; without one they are the app's own."""

    tokens: tuple[int, ...]
    origin: llmos.Origin | None = None


class Opened(_Record, frozen=True):
    """The session begins: with which model, and the system message with its tokens."""

    model: str
    system: str
    tokens: tuple[int, ...]


class Lives(_Record, frozen=True):
    """From now on this process holds the session."""

    pid: int


class Asked(_Record, frozen=True):
    """The user has said something. `most` tokens may answer it, `count` is how many alternatives there are to be."""

    text: str
    how: How = How.ALONE
    most: int = 256
    count: int = 1


class Added(_Record, frozen=True):
    """What the context has got, before the answer, for what was asked last."""

    parts: tuple[Part, ...]


class Said(_Record, frozen=True):
    """A piece of the answer. It is written before it is shown."""

    tokens: tuple[int, ...]
    text: str


class Again(_Record, frozen=True):
    """The tokens of the answer so far are of no use, and it is written anew; so many characters of it were shown."""

    shown: int


class Ended(_Record, frozen=True):
    """The last piece of the answer, and why it is the last."""

    tokens: tuple[int, ...]
    text: str
    reason: str = "stop"


class Undone(_Record, frozen=True):
    """The latest exchange is taken back."""


class Dropped(_Record, frozen=True):
    """The oldest exchanges have left the context, which was full."""

    count: int


Record = Opened | Lives | Asked | Added | Said | Again | Ended | Undone | Dropped

_DECODER: Final = msgspec.json.Decoder[Record](Record)


@dataclass(frozen=True, slots=True)
class Decoded:
    """What is in the bytes of a transcript; the first `length` bytes hold it."""

    records: tuple[Record, ...]
    length: int


def encode(records: Sequence[Record]) -> bytes:
    """The lines of records."""
    return b"".join(_line(msgspec.json.encode(record)) for record in records)


def decode(data: bytes) -> Decoded:
    """All records up to the first that was torn."""
    records, length = list[Record](), 0
    for line in data.splitlines(keepends=True):
        record = _record(line)
        if record is None:
            break
        records.append(record)
        length += len(line)
    return Decoded(tuple(records), length)


def _line(content: bytes) -> bytes:
    return b"%08x %s\n" % (crc32(content), content)


def _record(line: bytes) -> Record | None:
    found = _LINE.match(line)
    if found is None or int(found[1], 16) != crc32(found[2]):
        return None
    try:
        record: Record = _DECODER.decode(found[2])
    except msgspec.DecodeError:
        return None
    return record
