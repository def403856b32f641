"""Sentences that are addressed to a machine rather than to a reader.

Pure. It is no defence by itself: whatever a text says, the app only answers or hands over, and an answer has nothing
that is not in the documents. It keeps what was planted in a document out of answers, and customers who try such things
from being answered by the model.
"""

from __future__ import annotations

import re

from .words import plain, sentences

_OVERRIDE = (
    r"\b(ignore|disregard|forget|override|bypass|do not follow|don't follow|stop following)\b.{0,40}"
    r"\b(instructions?|prompts?|rules?|guidelines?|previous|prior|above|earlier|everything|context|training)\b"
)
_ROLE = (
    r"\byou are (?:now|no longer)\b"
    r"|\b(?:act|behave|respond|reply|answer|pretend)\b.{0,15}\b(?:as if|as though|as an?|to be|like an?)\b.{0,40}"
    r"\b(?:ai|assistant|model|bot|admin\w*|root|developer|hacker|dan|human|expert|unrestricted|system)\b"
)
_MACHINE = (
    r"\b(?:system|developer|hidden|initial|secret)\s+(?:prompt|message|instructions?)\b"
    r"|\bjailbr(?:ea|o)k\w*\b|\bdeveloper mode\b|\bprompt injection\b"
    r"|\b(?:dear|attention|hey|note to|message (?:to|for)) (?:the |an? )?"
    r"(?:ai|a\.i\.|llm|language model|assistant|chatbot|bot|model)\b"
    r"|\bif you are an? (?:ai|llm|language model|assistant|bot)\b"
)
_MARKS = (
    r"<\|[^|>]{1,40}\|>|\[/?INST\]|<</?SYS>>"
    r"|^\s*#{2,}\s*(?:system|instruction|assistant)\b|^\s*(?:system|assistant)\s*:"
)
_REVEAL = (
    r"\b(?:reveal|print|show|repeat|output|display|tell me|give me|leak|dump|send)\b.{0,40}"
    r"\b(?:your (?:instructions?|prompt|rules|training|configuration|memory|context)"
    r"|(?:other|another|all|every) (?:customers?|users?|clients?)|api keys?|passwords? of|credentials|database)"
)
_ADDRESSED = re.compile("|".join((_OVERRIDE, _ROLE, _MACHINE, _MARKS, _REVEAL)), re.IGNORECASE | re.DOTALL)


def addresses_a_machine(text: str) -> bool:
    """Whether any part of a text does."""
    return _ADDRESSED.search(plain(text)) is not None


def without_instructions(text: str) -> str:
    """The text without such sentences; its paragraphs stay apart."""
    if not addresses_a_machine(text):
        return text
    paragraphs = (" ".join(kept) for part in text.split("\n\n") if (kept := _readers(part)))
    return "\n\n".join(paragraphs)


def _readers(paragraph: str) -> list[str]:
    """Sentences of a paragraph for readers; none of them when they are addressed to a machine only together."""
    kept = [sentence for sentence in sentences(paragraph) if not addresses_a_machine(sentence)]
    return [] if addresses_a_machine(" ".join(kept)) else kept
