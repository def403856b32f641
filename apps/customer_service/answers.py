"""Answers from evidence: as somebody wrote them, in the model's words where these hold, else quoted.

Rules: an answer comes from one section and cites it; the model's words are only said when `grounding` finds them in the
source; sentences that are addressed to a machine are neither read to the model nor quoted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import llmos

from .evidence import Evidence
from .grounding import check
from .instructions import without_instructions
from .sections import SectionKind
from .words import content_stems, sentences
from .writing import Writer

READ = 1500
"""Characters of a section that an answer is made from."""
QUOTED_SENTENCES = 3
QUOTED_CHARACTERS = 600


class How(StrEnum):
    """Whose words an answer is in: of a stored answer, of the model, or quoted from a document."""

    STORED = "stored"
    WRITTEN = "written"
    QUOTED = "quoted"


@dataclass(frozen=True, slots=True)
class Answer:
    """`evidence` is what it comes from; `grounded` the share of its words that are there."""

    text: str
    how: How
    evidence: tuple[Evidence, ...]
    grounded: float


@dataclass(frozen=True, slots=True)
class Section:
    """What of one section was found, and can be read."""

    evidence: tuple[Evidence, ...]
    text: str


async def answer(
    system: llmos.AsyncSystem, question: str, evidence: Sequence[Evidence], writer: Writer | None
) -> Answer | None:
    """An answer from the nearest section; None when nothing of it may be shown."""
    section = nearest_section(evidence)
    if not section.text:
        return None
    if section.evidence[0].kind is SectionKind.ANSWER:
        return Answer(section.text, How.STORED, section.evidence, 1.0)
    written = await writer.write(question, section.text, section.evidence[0]) if writer is not None else None
    for said in beginnings(written or ""):
        if (found := check(said, section.text)).holds:
            return Answer(said, How.WRITTEN, section.evidence, found.share)
    return Answer(await _quote(system, question, section.text), How.QUOTED, section.evidence, 1.0)


def nearest_section(evidence: Sequence[Evidence]) -> Section:
    """The nearest passage and further ones of its section, as many as can be read, the nearest first."""
    first = evidence[0]
    used, text = [first], without_instructions(first.body)
    if first.kind is SectionKind.TEXT:
        for other in evidence[1:]:
            more = without_instructions(other.body)
            if (other.source, other.heading) == (first.source, first.heading) and len(text) + len(more) < READ:
                used.append(other)
                text = f"{text}\n\n{more}"
    return Section(tuple(used), text.strip())


def beginnings(text: str) -> Iterator[str]:
    """The text, and what is left of it without its last sentences; the longest first."""
    told = sentences(text)
    yield from (" ".join(told[:count]) for count in range(len(told), 0, -1))


async def _quote(system: llmos.AsyncSystem, question: str, text: str) -> str:
    """The sentences that are nearest to the question, in the order of the text."""
    told = sentences(text)
    if len(told) > QUOTED_SENTENCES:
        chosen = nearest_window(told, await _nearness(system, question, told))
        told = told[chosen : chosen + QUOTED_SENTENCES]
    quoted = " ".join(told)
    return quoted if len(quoted) <= QUOTED_CHARACTERS else f"{quoted[:QUOTED_CHARACTERS].rsplit(' ', 1)[0]} ..."


def nearest_window(told: Sequence[str], nearness: Sequence[float]) -> int:
    """Where the best `QUOTED_SENTENCES` in a row begin; of equals the first."""
    starts = range(len(told) - QUOTED_SENTENCES + 1)
    return max(starts, key=lambda first: (sum(nearness[first : first + QUOTED_SENTENCES]), -first))


async def _nearness(system: llmos.AsyncSystem, question: str, told: Sequence[str]) -> list[float]:
    """By meaning; by words where there is no encoder."""
    stems = content_stems(question)
    shared = [len(stems & content_stems(sentence)) / (1 + len(stems)) for sentence in told]
    try:
        asked, *vectors = await system.embed([question, *told])
    except (llmos.NotFound, llmos.TryAgain, llmos.DeviceError):
        return shared
    cosines = [sum(one * other for one, other in zip(asked, vector, strict=True)) for vector in vectors]
    return [cosine + 0.2 * share for cosine, share in zip(cosines, shared, strict=True)]
