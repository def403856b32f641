"""What a customer's message is, by rules: a greeting, the wish for a person, a fact about the customer, or a question.

Pure. Rule: whatever is not clearly one of the others is a question, and a question without an answer goes to a person.
"""

from __future__ import annotations

import re
from enum import StrEnum

from .words import content_stems, is_negated, listed, plain, words


class Intent(StrEnum):
    """What a message is."""

    GREETING = "greeting"
    PERSON = "person"
    FACT = "fact"
    QUESTION = "question"


_PERSON = re.compile(
    r"\b(?:speak|talk|chat|connect(?: me)?|put me through|transfer(?: me)?|get me|reach|want|need|give me)\b.{0,25}"
    r"\b(?:human|person|agent|representative|someone|somebody|supervisor|manager|colleague|operator)\b"
    r"|\b(?:real|actual|live) (?:human|person|agent)\b|\bopen a ticket\b|\bcomplaint\b",
    re.IGNORECASE,
)
_GREETINGS = listed("hello hi hey good morning afternoon evening day thanks thank greetings bye goodbye welcome cheers")
_FACT = re.compile(
    r"^(?:by the way,? |also,? |and |hello[,.!]? |hi[,.!]? )*"
    r"(?:my [\w' -]{1,40} (?:is|are)\b|i'm\b|i've\b|we (?:use|have|run)\b|call me\b|this is \w+\b"
    r"|i (?:am|use|have|own|run|live|work|prefer|bought|ordered|installed)\b"
    r"|note that i\b|remember that\b|please remember\b)",
    re.IGNORECASE,
)
_TROUBLE = listed(
    """
    broken break breaks crash crashes crashed wrong missing late lost stolen refund error errors fail fails failed
    failing problem problems trouble issue issues slow stuck help difficulty difficulties unable damaged dead defective
    worse refuses refused complain angry cancel return
    """
)
_WISH = listed("want wants would like need needs wish trying try tried how where what why which can could should may")
_OWN = listed("i i'm i've me my mine our ours we us")
_LONGEST_FACT = 40


def intent(text: str) -> Intent:
    """The intent of a message."""
    said = plain(text)
    found = words(said)
    if _PERSON.search(said):
        return Intent.PERSON
    if not content_stems(said) - content_stems(" ".join(_GREETINGS)):
        return Intent.QUESTION if "?" in said else Intent.GREETING
    if _is_fact(said, found):
        return Intent.FACT
    return Intent.QUESTION


def is_about_oneself(text: str) -> bool:
    """Whether the customer asks about the customer."""
    return not _OWN.isdisjoint(words(text))


def leans_on_what_was_said(text: str) -> bool:
    """Whether a message is only understood together with the one before it: "it still does not work"."""
    found = words(text)
    return len(content_stems(text)) <= 3 and not {"it", "that", "this", "they", "them", "one"}.isdisjoint(found)


def _is_fact(said: str, found: list[str]) -> bool:
    fits = _FACT.match(said) is not None and len(found) <= _LONGEST_FACT and "?" not in said
    return fits and not is_negated(said) and (_TROUBLE | _WISH).isdisjoint(found)
