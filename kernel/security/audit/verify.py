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

from llmos.kernel.security.audit.chain import START, BadLine, Link, complete_lines, decode_line, hash_of, segments
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
    """What verification found: the first fault and where, or none. `public` is the key that signed the head."""

    records: int
    head: Head | None
    public: str
    fault: Fault | None = None
    where: str = ""

    @property
    def ok(self) -> bool:
        """Whether the log is whole."""
        return self.fault is None


class _Found(Exception):
    """A fault, and where."""

    def __init__(self, fault: Fault, where: str) -> None:
        super().__init__(where)
        self.fault = fault
        self.where = where


def verify(folder: Path, public: str | None = None, expect: Mark | None = None) -> Verdict:
    """Verify a log in constant memory. `public` (hex) is the key that must have signed, else the one beside the log."""
    state = _State(expect)
    try:
        state.public = public or _public(folder)
        state.head = _head(folder)
        for place, link in _links(folder):
            state.take(place, link)
        state.finish()
    except _Found as found:
        return Verdict(state.n, state.head, state.public, found.fault, found.where)
    return Verdict(state.n, state.head, state.public)


class _State:
    """What is known after some records."""

    def __init__(self, expect: Mark | None) -> None:
        self.n = 0
        self.public = ""
        self.head: Head | None = None
        self._previous = START
        self._expect = expect
        self._at_head = b""
        self._at_mark = b""

    def take(self, place: str, link: Link) -> None:
        """The next record in the order of the files."""
        if link.record.n != self.n + 1:
            raise _Found(self._wrong_number(link.record.n), f"{place}: record {link.record.n} after {self.n}")
        if hash_of(self._previous, link.body) != link.claimed:
            raise _Found(Fault.EDITED, f"{place}: record {link.record.n} or the one before it is not what was written")
        self.n, self._previous = link.record.n, link.claimed
        if self.head is not None and self.n == self.head.n:
            self._at_head = link.claimed
        if self._expect is not None and self.n == self._expect.n:
            self._at_mark = link.claimed

    def finish(self) -> None:
        """There are no more records."""
        head, expect = self.head, self._expect
        if head is None:
            raise _Found(Fault.NO_HEAD, "there is no head: nothing says where the log ends")
        if not is_signed(head, _bytes(self.public)):
            raise _Found(Fault.BAD_SIGNATURE, f"the head was not signed by the key {self.public or '(none)'}")
        if self.n < head.n:
            raise _Found(Fault.CUT_OFF, f"the log ends at record {self.n}, the head says {head.n}")
        if self._at_head.hex() != head.hash:
            raise _Found(Fault.EDITED, f"record {head.n} is not the one that the head was signed for")
        if expect is not None and self.n < expect.n:
            raise _Found(Fault.BEHIND, f"the log ends at record {self.n}, it was at {expect.n} before")
        if expect is not None and self._at_mark.hex() != expect.hash.lower():
            raise _Found(Fault.EDITED, f"record {expect.n} is not the one that was remembered")

    def _wrong_number(self, n: int) -> Fault:
        if n == self.n:
            return Fault.DUPLICATED
        return Fault.GAP if n > self.n else Fault.REORDERED


def _links(folder: Path) -> Iterator[tuple[str, Link]]:
    try:
        for path in segments(folder):
            for number, line in enumerate(complete_lines(path), 1):
                place = f"{path.name}:{number}"
                try:
                    link = decode_line(line)
                except BadLine as error:
                    raise _Found(Fault.EDITED, f"{place}: {error}") from None
                yield place, link
    except OSError as error:
        raise _Found(Fault.UNREADABLE, f"{folder}: {error.strerror}") from None


def _head(folder: Path) -> Head | None:
    try:
        return read_head(folder)
    except InvalidArgument as error:
        raise _Found(Fault.BAD_SIGNATURE, error.message) from None


def _public(folder: Path) -> str:
    try:
        return (folder / PUBLIC).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _bytes(public: str) -> bytes:
    try:
        return bytes.fromhex(public)
    except ValueError:
        return b""
