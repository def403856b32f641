"""Verifying a log, or a copy of one, with nothing but its folder.

Found are: a record that was edited, left out, moved or doubled, a segment that is missing, a tail that was cut off (the
signed head says more than there is), a head that somebody else signed, and, against a head remembered elsewhere, a log
that was set back together with its head. What nobody can find in a copy alone is a log that ends, head and all, at an
earlier moment: remember a head for that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
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
from llmos.kernel.security.audit.record import Kind
from llmos.kernel.security.audit.signing import PUBLIC, Head, is_signed, read_head
from llmos.syscalls.abi.errors import InvalidArgument


class Fault(StrEnum):
    """What is wrong with a log."""

    EDITED = "edited"
    GAP = "gap"
    REORDERED = "reordered"
    DUPLICATED = "duplicated"
    CUT_OFF = "cut off"
    NO_HEAD = "no head"
    BAD_SIGNATURE = "bad signature"
    BEHIND = "behind"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Mark:
    """A record's number and hash (hex), remembered elsewhere."""

    n: int
    hash: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verification found: the first fault and where, or none. `public` is the key that signed the head.

    `records` is the number of the last record that was in order.
    """

    records: int
    head: Head | None
    public: str
    fault: Fault | None = None
    where: str = ""

    @property
    def ok(self) -> bool:
        """Whether the log is whole."""
        return self.fault is None


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of the log and where it is; no link when it is no record."""

    path: Path
    number: int
    link: Link | None
    reason: str = ""

    @property
    def place(self) -> str:
        return f"{self.path.name}:{self.number}"


class _Found(Exception):
    """A fault, and where."""

    def __init__(self, fault: Fault, where: str) -> None:
        super().__init__(where)
        self.fault = fault
        self.where = where


def verify(folder: Path, public: str | None = None, expect: Mark | None = None, first: int = 1) -> Verdict:
    """Verify a log in constant memory.

    `public` (hex) is the key that must have signed, else the one beside the log. `first` is the record that the oldest
    segment must begin with, when older ones were put away.
    """
    state = _State(expect, first)
    try:
        state.public = _public(folder, public)
        # Before the records: while the log is written, those beyond this head are as good as the chain is.
        state.head = _head(folder)
        lines = _lines(folder)
        for line in lines:
            state.take(line, lines)
        state.finish()
    except _Found as found:
        return Verdict(state.n, state.head, state.public, found.fault, found.where)
    return Verdict(state.n, state.head, state.public)


class _State:
    """What is known after some records."""

    def __init__(self, expect: Mark | None, first: int) -> None:
        self.n = first - 1
        self.public = ""
        self.head: Head | None = None
        self._first = first
        self._previous = START
        self._expect = expect
        self._at_head = START if first == 1 else b""
        self._at_mark = START if first == 1 else b""

    def take(self, line: _Line, rest: Iterator[_Line]) -> None:
        """The next record in the order of the files. `rest` is read to the end only when something is wrong."""
        link = line.link
        if link is None:
            raise _Found(Fault.EDITED, f"{line.place}: {line.reason}")
        n = link.record.n
        if n != self.n + 1:
            raise _Found(self._wrong_number(n, rest), f"{line.place}: record {n} after {self.n}")
        self._check_beginning(line, link)
        if hash_of(self._previous, link.body) != link.claimed:
            raise _Found(Fault.EDITED, f"{line.place}: record {n} or the one before it is not what was written")
        self.n, self._previous = n, link.claimed
        if self.head is not None and n == self.head.n:
            self._at_head = link.claimed
        if self._expect is not None and n == self._expect.n:
            self._at_mark = link.claimed

    def finish(self) -> None:
        """There are no more records."""
        head = self.head
        if head is None:
            raise _Found(Fault.NO_HEAD, "there is no head: nothing says where the log ends")
        if not is_signed(head, _bytes(self.public)):
            raise _Found(Fault.BAD_SIGNATURE, f"the head was not signed by the key {self.public or '(none)'}")
        if self.n < head.n:
            raise _Found(Fault.CUT_OFF, f"the log ends at record {self.n}, the head says {head.n}")
        if self._at_head.hex() != head.hash:
            raise _Found(Fault.EDITED, f"record {head.n} is not the one that the head was signed for")
        if self._expect is not None:
            self._check_mark(self._expect)

    def _check_mark(self, expect: Mark) -> None:
        if self.n < expect.n:
            raise _Found(Fault.BEHIND, f"the log ends at record {self.n}, it was at {expect.n} before")
        if expect.n >= self._first and self._at_mark.hex() != expect.hash.lower():
            raise _Found(Fault.EDITED, f"record {expect.n} is not the one that was remembered")

    def _check_beginning(self, line: _Line, link: Link) -> None:
        """A segment begins with a record that says so and that its name is of; nothing else does."""
        n, begins = link.record.n, line.number == 1
        if begins != (link.record.kind is Kind.SEGMENT) or (begins and n != first_of(line.path)):
            raise _Found(Fault.EDITED, f"{line.place}: record {n} is not where it was written")
        if begins and n == self._first and n > 1:
            self._previous = _hash_before(line, link)

    def _wrong_number(self, n: int, rest: Iterator[_Line]) -> Fault:
        """The record that belongs here comes later, or never; or it is this one, with another number."""
        wanted, numbers = self.n + 1, (line.link.record.n if line.link is not None else 0 for line in rest)
        following = next(numbers, 0)
        if n > self.n and (following == wanted or wanted in numbers):
            return Fault.REORDERED
        if following == wanted + 1:
            return Fault.EDITED
        return Fault.DUPLICATED if n <= self.n else Fault.GAP


def _lines(folder: Path) -> Iterator[_Line]:
    try:
        found = segments(folder)
        for path in found:
            for number, line in enumerate(complete_lines(path), 1):
                yield _line(path, number, line)
            if path != found[-1] and not _is_ended(path):
                yield _Line(path, 0, None, "it was written to after the next file had begun")
    except OSError as error:
        raise _Found(Fault.UNREADABLE, f"{error.filename or folder}: {error.strerror}") from None


def _line(path: Path, number: int, line: bytes) -> _Line:
    try:
        return _Line(path, number, decode_line(line))
    except BadLine as error:
        return _Line(path, number, None, str(error))


def _is_ended(path: Path) -> bool:
    """Whether the last line of a file is complete."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - 1, 0))
        return file.read(1) == b"\n"


def _hash_before(line: _Line, link: Link) -> bytes:
    try:
        return hash_before(link)
    except BadLine as error:
        raise _Found(Fault.EDITED, f"{line.place}: {error}") from None


def _head(folder: Path) -> Head | None:
    try:
        return read_head(folder)
    except InvalidArgument as error:
        raise _Found(Fault.BAD_SIGNATURE, error.message) from None


def _public(folder: Path, expected: str | None) -> str:
    """The key that must have signed. Whoever brings a key is told when the one beside the log is another."""
    path = folder / PUBLIC
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return (expected or "").lower()
    except OSError as error:
        raise _Found(Fault.UNREADABLE, f"{path}: {error.strerror}") from None
    public = text.removesuffix("\n")
    if text != f"{_bytes(public).hex()}\n" or (expected is not None and public != expected.lower()):
        raise _Found(Fault.BAD_SIGNATURE, f"{path} is not of the key that the log is signed with")
    return public


def _bytes(public: str) -> bytes:
    try:
        return bytes.fromhex(public)
    except ValueError:
        return b""
