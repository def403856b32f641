"""Which questions need no model, and which need what is in memory: simple rules over the words of a question.

Pure. A small model is bad at arithmetic and does not know the time; what a rule answers is right. Rule: only the
user's own question is looked at, never a text from a file, from memory or from a tool.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_ARITHMETIC: Final = re.compile(
    r"\s*(?:(?:what(?:'s| is| does)?|calculate|compute|how much is)\s+)?"
    r"([-+(.\d][-+*/%().\d\sx×÷]*?)\s*(?:equal\s*)?=?\s*\??\s*",
    re.IGNORECASE,
)
_CLOCK: Final = re.compile(
    r"\s*(?:what(?:'s| is) the (?:current )?(?:time|date)|what time is it|what day is it|what is today's date)"
    r"(?: now| today)?\s*\??\s*",
    re.IGNORECASE,
)
_OPERATOR: Final = re.compile(r"[\d.)]\s*(?:\*\*|//|[-+*/%x×÷])\s*[-+(.\d]")
_ONESELF: Final = re.compile(r"\b(?:i|me|my|mine|we|us|our|ours|remember)\b", re.IGNORECASE)
_WORD: Final = re.compile(r"[^\W_]{3,}")
_SMALL: Final = frozenset(
    (
        *("the", "and", "are", "was", "were", "what", "which", "who", "whom", "whose", "when", "where", "why", "how"),
        *("does", "did", "can", "could", "would", "should", "have", "has", "had", "you", "your", "that", "this"),
        *("with", "from", "for", "about", "remember", "tell", "know", "say", "said", "mine", "our", "ours", "there"),
    )
)


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """The question is how much this is."""

    expression: str


@dataclass(frozen=True, slots=True)
class Clock:
    """The question is how late it is, or which day."""


def rule_for(question: str) -> Arithmetic | Clock | None:
    """The rule that answers a question."""
    if _CLOCK.fullmatch(question):
        return Clock()
    found = _ARITHMETIC.fullmatch(question)
    if found is None or not _OPERATOR.search(found[1]):
        return None
    return Arithmetic(re.sub(r"[x×]", "*", found[1]).replace("÷", "/").strip())


def is_about_oneself(question: str) -> bool:
    """Whether the user asks about what he may have had remembered."""
    return bool(_ONESELF.search(question))


def content_words(text: str) -> frozenset[str]:
    """The words that say what a text is about, without endings that change little."""
    words = {word.lower() for word in _WORD.findall(text)} - _SMALL
    return frozenset(_stem(word) for word in words)


def _stem(word: str) -> str:
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    return word
