"""Where a session stands, from the records of its transcript; nothing here does anything.

Pure. Rules: the context is the system message, then what the exchanges have added and what was answered, token by
token; only the latest exchange may be unfinished. A record that does not fit where it stands raises `BadTranscript`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import assert_never

import llmos

from .records import Added, Again, Asked, Dropped, Ended, Lives, Opened, Part, Record, Said, Undone


class BadTranscript(Exception):
    """The records are those of no session."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What was asked and what was answered. `added` is None until the context has got the question."""

    asked: Asked
    added: tuple[Part, ...] | None = None
    said: tuple[Said, ...] = ()
    ended: Ended | None = None
    repeats: int = 0
    """Characters of the answer that were shown already when it was begun anew."""

    @property
    def shown(self) -> int:
        """How many characters of the answer have been shown, as far as the transcript knows."""
        return max(self.repeats, len(self.text))

    @property
    def text(self) -> str:
        """The answer as far as it goes."""
        return "".join(piece.text for piece in self.pieces)

    @property
    def tokens(self) -> tuple[int, ...]:
        """Those of the answer."""
        return tuple(token for piece in self.pieces for token in piece.tokens)

    @property
    def pieces(self) -> tuple[Said, ...]:
        """The answer in pieces, the last one too."""
        last = () if self.ended is None else (Said(self.ended.tokens, self.ended.text),)
        return (*self.said, *last)

    @property
    def parts(self) -> Iterator[Part]:
        """All that it has put into the context; the answer's origin is left out."""
        yield from self.added or ()
        if self.tokens:
            yield Part(self.tokens, ANSWER)

    @property
    def length(self) -> int:
        """In tokens."""
        return sum(len(part.tokens) for part in self.parts)


ANSWER = llmos.Origin(llmos.OriginKind.PROCESS, name="answer")
"""Of an answer in a context that is made anew: another process has written it."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """A session. `pid` is the process that holds it, as far as known."""

    opened: Opened
    pid: int | None = None
    exchanges: tuple[Exchange, ...] = ()

    @property
    def pending(self) -> Exchange | None:
        """The exchange that is under way."""
        last = self.exchanges[-1] if self.exchanges else None
        return last if last is not None and last.ended is None else None

    @property
    def parts(self) -> Iterator[Part]:
        """All of the context after the system message."""
        for exchange in self.exchanges:
            yield from exchange.parts

    @property
    def tokens(self) -> tuple[int, ...]:
        """The context."""
        return (*self.opened.tokens, *(token for part in self.parts for token in part.tokens))


def replay(records: Iterable[Record]) -> Transcript | None:
    """Where the session stands after these; None when it has not begun. Raises `BadTranscript`."""
    transcript: Transcript | None = None
    for record in records:
        transcript = begin(record) if transcript is None else follow(transcript, record)
    return transcript


def begin(record: Record) -> Transcript:
    """A session from its first record."""
    if not isinstance(record, Opened):
        raise BadTranscript(f"it begins with {type(record).__name__}")
    return Transcript(record)


def follow(transcript: Transcript, record: Record) -> Transcript:
    """Where it stands after one more record."""
    match record:
        case Opened():
            raise BadTranscript("it begins twice")
        case Lives(pid):
            return replace(transcript, pid=pid)
        case Asked():
            if transcript.pending is not None:
                raise BadTranscript("a question before the answer to the one before has ended")
            return replace(transcript, exchanges=(*transcript.exchanges, Exchange(record)))
        case Undone():
            return replace(transcript, exchanges=transcript.exchanges[:-1])
        case Dropped(count):
            return replace(transcript, exchanges=transcript.exchanges[count:])
        case Added() | Said() | Again() | Ended():
            return _go_on(transcript, record)
        case _:
            assert_never(record)


def compacted(transcript: Transcript) -> Iterator[Record]:
    """The fewest records that lead to the same place, but for the pieces in which finished answers were said."""
    yield transcript.opened
    if transcript.pid is not None:
        yield Lives(transcript.pid)
    for exchange in transcript.exchanges:
        yield exchange.asked
        if exchange.added is not None:
            yield Added(exchange.added)
        if exchange.repeats:
            yield Again(exchange.repeats)
        if exchange.ended is None:
            yield from exchange.said
        else:
            yield Ended(exchange.tokens, exchange.text, exchange.ended.reason)


def _go_on(transcript: Transcript, record: Added | Said | Again | Ended) -> Transcript:
    pending = transcript.pending
    if pending is None:
        raise BadTranscript(f"{type(record).__name__} belongs to no question")
    return replace(transcript, exchanges=(*transcript.exchanges[:-1], _grown(pending, record)))


def _grown(exchange: Exchange, record: Added | Said | Again | Ended) -> Exchange:
    match record:
        case Added(parts):
            if exchange.added is not None:
                raise BadTranscript("a question is added twice")
            return replace(exchange, added=parts)
        case Said():
            _check_added(exchange)
            return replace(exchange, said=(*exchange.said, record))
        case Again(shown):
            _check_added(exchange)
            return replace(exchange, said=(), repeats=shown)
        case Ended():
            _check_added(exchange)
            return replace(exchange, ended=record)
        case _:
            assert_never(record)


def _check_added(exchange: Exchange) -> None:
    if exchange.added is None:
        raise BadTranscript("an answer before its question")
