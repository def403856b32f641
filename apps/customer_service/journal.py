"""The app's log: one JSON object a line, on stderr, without anything that says who a customer is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from .anonymise import anonymous
from .conversation import Reply

SHOWN = 200
"""Characters of a question."""


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line. `customer` is the beginning of a pseudonym; times in seconds, `at` since the epoch."""

    at: float
    event: str
    customer: str = ""
    pid: int = 0
    question: str = ""
    outcome: str = ""
    how: str = ""
    confidence: float = 0.0
    sources: tuple[str, ...] = ()
    waited: float = 0.0
    took: float = 0.0
    detail: str = ""


def to_stderr(line: str) -> None:
    """Where logs go."""
    print(line, file=sys.stderr, flush=True)


@dataclass(slots=True)
class Journal:
    """`known` are the words that may be shown."""

    known: frozenset[str] = frozenset()
    write: Callable[[str], None] = to_stderr

    def replied(self, customer: str, pid: int, question: str, reply: Reply, waited: float, took: float) -> None:
        """A message was replied to. Ticket numbers stay out: they lead to the customer."""
        self._line(
            Entry(
                at=time.time(),
                event="replied",
                customer=customer[:12],
                pid=pid,
                question=anonymous(question[:SHOWN], self.known),
                outcome=reply.outcome.value,
                how=reply.how,
                confidence=round(reply.confidence, 3),
                sources=tuple(str(one) for one in reply.citations),
                waited=round(waited, 3),
                took=round(took, 3),
            )
        )

    def failed(self, customer: str, error: BaseException) -> None:
        """A message could not be replied to; of the error only its kind, for its text may quote."""
        self._line(Entry(time.time(), "failed", customer[:12], detail=type(error).__name__))

    def happened(self, event: str, detail: str = "") -> None:
        """Something that has nothing to do with a customer."""
        self._line(Entry(time.time(), event, detail=detail))

    def _line(self, entry: Entry) -> None:
        self.write(msgspec.json.encode(entry).decode())
