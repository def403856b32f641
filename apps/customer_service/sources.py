"""Citations: where in the documents an answer comes from.

Pure. Rule: an answer from the documents is never shown without one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .evidence import Evidence


@dataclass(frozen=True, slots=True)
class Citation:
    """A document and, if it has headings, the heading; `item` and `version` name the passage in memory."""

    source: str
    heading: str
    item: str
    version: int

    def __str__(self) -> str:
        return f"{self.source}, “{self.heading}”" if self.heading else self.source


def cite(evidence: Sequence[Evidence]) -> tuple[Citation, ...]:
    """One citation for each place, in order."""
    found = {
        (one.source, one.heading): Citation(one.source, one.heading, one.id, one.version) for one in reversed(evidence)
    }
    return tuple(reversed(found.values()))


def with_citations(text: str, citations: Sequence[Citation]) -> str:
    """The text as a customer reads it."""
    return "\n".join((text, *(f"  [{number}] {one}" for number, one in enumerate(citations, 1))))
