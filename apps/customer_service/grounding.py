"""Whether a text says no more than its source does.

Pure; by words, so that it is the same every time and needs no model. It sees what is made up: words, numbers, commands,
addresses that the source does not have, and a "not" more or less. It does not see a sentence that turns the source's
own words into something else; that is why answers are short, and quoted when anything is in doubt.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .words import content_stems, is_negated, plain, sentences, words

ENOUGH = 0.9
"""Share of an answer's words that its source must have."""
ENOUGH_TOGETHER = 0.8
"""Share of a sentence's words that must stand together in its source: within `WINDOW` sentences."""
WINDOW = 2

_EXACT = re.compile(r"\S*[\d@/\\_=<>|`$#]\S*|--?\w[\w-]*")
"""What is wrong when it is nearly right: numbers, addresses, paths, commands and their options."""


@dataclass(frozen=True, slots=True)
class Grounding:
    """`share` of the words are in the source; `fault` is empty when all is well."""

    share: float
    fault: str = ""

    @property
    def holds(self) -> bool:
        """Whether the text may be said."""
        return not self.fault


def check(text: str, source: str) -> Grounding:
    """Compare a text with its source."""
    said, known = content_stems(text), content_stems(source)
    if not said:
        return Grounding(0.0, "it says nothing")
    share = len(said & known) / len(said)
    if share < ENOUGH:
        return Grounding(share, "words that the source does not have")
    if not _exact(text) <= _exact(source):
        return Grounding(share, "a number, address or command that the source does not have")
    told = sentences(source)
    for sentence in sentences(text):
        if fault := _fault(sentence, told):
            return Grounding(share, fault)
    return Grounding(share)


def _exact(text: str) -> set[str]:
    return {found.strip(".,;:!?()[]'\"`") for found in _EXACT.findall(plain(text).casefold())}


def _fault(sentence: str, told: list[str]) -> str:
    """What is wrong with one sentence, against where most of its words stand together."""
    stems = content_stems(sentence)
    if not stems:
        return ""
    windows = [" ".join(told[first : first + WINDOW]) for first in range(len(told))]
    shares = [len(stems & content_stems(window)) / len(stems) for window in windows]
    best = max(shares, default=0.0)
    if best < ENOUGH_TOGETHER:
        return "words that stand far apart in the source"
    likely = [window for window, share in zip(windows, shares, strict=True) if share == best]
    if is_negated(sentence) and not any(is_negated(window) for window in likely):
        return "a negation that the source does not have"
    if not is_negated(sentence) and all(_negates(window, stems) for window in likely):
        return "a negation of the source that is missing"
    return ""


def _negates(window: str, stems: set[str]) -> bool:
    """Whether the sentence of a window that has most of these words is negated."""
    nearest = max(sentences(window), key=lambda one: len(stems & content_stems(one)) / (1 + len(words(one))))
    return is_negated(nearest)
