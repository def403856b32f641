"""Evidence: a passage that may answer a question, how near it is, and how sure one may be that it does.

Pure. `Rule` is a logistic regression over two figures of the nearest passage: the cosine of question and passage, and
the share of the question's words that the passage has. `calibration` fits it; `RULE` is what it found for the default
encoder. Rule: a rank is no confidence; fused scores order passages and decide nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import llmos

from .sections import SectionKind
from .words import content_stems

COVERAGE_WEIGHT = 0.2
"""How much a passage that has all words of a question is ahead of one that has none, in cosines."""
LIKENESS_WEIGHT = 0.5
"""What the cosine of question and heading counts for, beside that of question and passage."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A passage as it was found. `cosine` and `coverage` are with the question, -1 to 1 and 0 to 1; `likeness` is the
    cosine of question and heading.
    """

    namespace: str
    id: str
    version: int
    source: str
    heading: str
    body: str
    kind: SectionKind
    cosine: float
    coverage: float
    likeness: float

    @property
    def nearness(self) -> float:
        """What evidence is ordered by."""
        return self.cosine + COVERAGE_WEIGHT * self.coverage + LIKENESS_WEIGHT * self.likeness

    @property
    def text(self) -> str:
        """Heading and body."""
        return f"{self.heading}\n{self.body}" if self.heading else self.body


@dataclass(frozen=True, slots=True)
class Rule:
    """Weights of the two figures, and what is added."""

    cosine: float
    coverage: float
    offset: float

    def confidence(self, cosine: float, coverage: float) -> float:
        """How likely a question with these figures has its answer in the documents, 0 to 1."""
        return 1 / (1 + math.exp(-(self.cosine * cosine + self.coverage * coverage + self.offset)))


RULE = Rule(cosine=19.7, coverage=3.7, offset=-9.9)
ENOUGH = 0.5
"""Confidence from which on an answer is tried."""


def confidence(evidence: Sequence[Evidence], rule: Rule = RULE) -> float:
    """Of the passage that gives the most; 0 without any."""
    return max((rule.confidence(one.cosine, one.coverage) for one in evidence), default=0.0)


@dataclass(frozen=True, slots=True)
class Found:
    """What three searches for a question gave: passages by words and meaning, passages by meaning, and headings."""

    fused: Sequence[llmos.MemoryRecord]
    near: Sequence[llmos.MemoryRecord]
    headings: Sequence[llmos.MemoryRecord] = ()


def ranked(question: str, found: Found) -> tuple[Evidence, ...]:
    """Evidence for a question, nearest first."""
    stems = content_stems(question)
    cosines = _Scores({record.id: record.score or 0.0 for record in found.near})
    likenesses = _Scores({record.text: record.score or 0.0 for record in found.headings})
    records = {record.id: record for record in (*found.fused, *found.near)}
    evidence = (
        _evidence(record, stems, cosines.of(record.id), likenesses.of(_heading(record))) for record in records.values()
    )
    return tuple(sorted(evidence, key=lambda one: (-one.nearness, one.id)))


@dataclass(frozen=True, slots=True)
class _Scores:
    """Cosines of a search. What it has not found is farther than all that it has: a little farther than the last."""

    known: Mapping[str, float]

    def of(self, name: str) -> float:
        return self.known.get(name, 0.9 * max(0.0, min(self.known.values(), default=0.0)))


def _heading(record: llmos.MemoryRecord) -> str:
    return str(record.metadata.get("heading", ""))


def _evidence(record: llmos.MemoryRecord, stems: set[str], cosine: float, likeness: float) -> Evidence:
    heading, body = _heading(record), record.text
    kind = SectionKind(str(record.metadata.get("kind", SectionKind.TEXT)))
    return Evidence(
        namespace=record.namespace,
        id=record.id,
        version=record.version,
        source=str(record.metadata.get("source", "")),
        heading=heading,
        body=body.removeprefix(heading).lstrip("\n") if heading else body,
        kind=kind,
        cosine=cosine,
        coverage=len(stems & content_stems(record.text)) / len(stems) if stems else 0.0,
        likeness=likeness if heading else 0.0,
    )
