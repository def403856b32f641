"""Evidence: a passage that may answer a question, how near it is, and how sure one may be that it does.

Pure. `Rule` is a logistic regression over two figures of the nearest passage: the cosine of question and passage, and
the share of the question's words that the passage has. `calibration` fits it; `RULE` is what it found for the default
encoder. Rule: a rank is no confidence; fused scores order passages and decide nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import llmos

from .sections import SectionKind
from .words import content_stems

COVERAGE_WEIGHT = 0.2
"""How much a passage that has all words of a question is ahead of one that has none, in cosines."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A passage as it was found. `cosine` and `coverage` are with the question, -1 to 1 and 0 to 1."""

    namespace: str
    id: str
    version: int
    source: str
    heading: str
    body: str
    kind: SectionKind
    cosine: float
    coverage: float

    @property
    def nearness(self) -> float:
        """What evidence is ordered by."""
        return self.cosine + COVERAGE_WEIGHT * self.coverage

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
    """Of the nearest; 0 without any."""
    return rule.confidence(evidence[0].cosine, evidence[0].coverage) if evidence else 0.0


def ranked(
    question: str, fused: Iterable[llmos.MemoryRecord], near: Iterable[llmos.MemoryRecord]
) -> tuple[Evidence, ...]:
    """What two searches found, one by words and meaning and one by meaning alone, nearest first.

    What the second has not found is farther than all that it has: a little farther than the last.
    """
    stems = content_stems(question)
    cosines = {record.id: record.score or 0.0 for record in near}
    farther = 0.9 * max(0.0, min(cosines.values(), default=0.0))
    records = {record.id: record for record in (*fused, *near)}
    found = (_evidence(record, cosines.get(record.id, farther), stems) for record in records.values())
    return tuple(sorted(found, key=lambda one: (-one.nearness, one.id)))


def _evidence(record: llmos.MemoryRecord, cosine: float, stems: set[str]) -> Evidence:
    heading, body = str(record.metadata.get("heading", "")), record.text
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
    )
