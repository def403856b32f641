"""A section of a document, and the error of one that cannot be read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SectionKind(StrEnum):
    """How it is used: as a text to find an answer in, or as the answer that somebody has written to a question."""

    TEXT = "text"
    ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class Section:
    """`heading` is one line, in an ANSWER the question; `body` has its paragraphs apart by empty lines."""

    heading: str
    body: str
    kind: SectionKind = SectionKind.TEXT


class NotADocument(Exception):
    """What is wrong with it, and where."""
