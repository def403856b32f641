"""Citations: where in the documents an answer comes from.

Pure. Rule: an answer from the documents is never shown without one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .evidence import Evidence

NEARLY = 0.25
"""How much farther a place may be that is worth a look."""
MOST_OTHERS = 2


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


def see_also(evidence: Sequence[Evidence], cited: Sequence[Citation]) -> tuple[Citation, ...]:
    """Other places that are nearly as near as the nearest, in order; `evidence` is ordered, nearest first."""
    places = {(one.source, one.heading) for one in cited}
    near = [one for one in evidence if one.nearness > evidence[0].nearness - NEARLY]
    return tuple(one for one in cite(near) if (one.source, one.heading) not in places)[:MOST_OTHERS]


def with_citations(text: str, citations: Sequence[Citation], also: Sequence[Citation] = ()) -> str:
    """The text as a customer reads it."""
    cited = (f"  [{number}] {one}" for number, one in enumerate(citations, 1))
    return "\n".join((text, *cited, *(f"  See also {one}" for one in also)))
