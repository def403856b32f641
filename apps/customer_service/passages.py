"""Passages: pieces of sections that are found, cited and read to the model.

Pure. Rules: a passage ends where a paragraph, else a sentence, else a word ends; put together again, the passages of a
section have all its words in order; each carries its section's heading.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .sections import Section, SectionKind
from .words import sentences

CHARACTERS = 800
"""Of a passage, at most: what the encoder reads of a text, and little enough for a small model."""


@dataclass(frozen=True, slots=True)
class Passage:
    """`number` counts the passages of a document from 1."""

    number: int
    heading: str
    body: str
    kind: SectionKind

    @property
    def text(self) -> str:
        """What is stored and searched."""
        return f"{self.heading}\n{self.body}" if self.heading else self.body


def passages(sections: Iterable[Section], most: int = CHARACTERS) -> tuple[Passage, ...]:
    """The passages of a document."""
    pieces = ((section, piece) for section in sections for piece in _pieces(section, most))
    return tuple(Passage(number, one.heading, piece, one.kind) for number, (one, piece) in enumerate(pieces, 1))


def _pieces(section: Section, most: int) -> Iterator[str]:
    """An answer that somebody has written stays whole, as far as it may be stored at all."""
    if section.kind is SectionKind.ANSWER and len(section.body) <= 4 * most:
        yield section.body
        return
    yield from _packed((part for paragraph in section.body.split("\n\n") for part in _parts(paragraph, most)), most)


def _parts(paragraph: str, most: int) -> Iterator[tuple[str, str]]:
    """What must not be taken apart, with what stands before it when it follows in the same passage."""
    if len(paragraph) <= most:
        yield "\n\n", paragraph
        return
    before = "\n\n"
    for sentence in sentences(paragraph):
        for piece in _cut(sentence, most):
            yield before, piece
            before = " "


def _cut(sentence: str, most: int) -> Iterator[str]:
    """A sentence that is too long, cut between words, or inside one that is too long itself."""
    while len(sentence) > most:
        end = sentence.rfind(" ", 1, most + 1)
        end = end if end > 0 else most
        yield sentence[:end].rstrip()
        sentence = sentence[end:].lstrip()
    if sentence:
        yield sentence


def _packed(parts: Iterable[tuple[str, str]], most: int) -> Iterator[str]:
    """As much as fits together, in order."""
    packed = ""
    for before, part in parts:
        if packed and len(packed) + len(before) + len(part) > most:
            yield packed
            packed = ""
        packed = f"{packed}{before}{part}" if packed else part
    if packed.strip():
        yield packed
