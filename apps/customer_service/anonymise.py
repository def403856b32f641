"""What a customer wrote, without anything that says who it was: for logs.

Pure. It keeps what it knows to be harmless and hides the rest, instead of hiding what it recognises: a word stays when
the documents, which are public, use it in small letters, or when any text has it. So no name, address or order number
has to be recognised to be hidden. Beyond that, what follows "my name is" and the like is hidden although it is a word
("Mark", "Will"), and so is what is spelled out ("four seven one", "jane at example dot com").

Rules: nothing with a digit or an @ stays; nothing stays that is not in the vocabulary. What it cannot see: a name that
is an ordinary word in small letters, without any such cue ("mark said so").
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable

from .words import FUNCTION_WORDS, listed, sentences

HIDDEN = "[...]"
_TOKEN = re.compile(r"[^\W_]+(?:['\-][^\W_]+)*|[.,!?;:]")
_TITLE = re.compile(r"\b(mrs?|ms|dr|prof|st)\.", re.IGNORECASE)
_CHUNK = re.compile(r"\S+")
_MACHINE_WORD = re.compile(r"[\d@/\\_=<>|&%$#~^+*{}\[\]]|\w\.\w|[^\W\d_]*[^\x00-\u024f]")
"""What no word of a sentence has: addresses, links, numbers, paths, and letters from which names are disguised."""

_NAME_CUES = (
    "name is",
    "name's",
    "names are",
    "call me",
    "called",
    "named",
    "this is",
    "i am",
    "i'm",
    "speak to",
    "speak with",
    "signed",
    "regards",
    "sincerely",
    "yours",
    "cheers",
    "dear",
    "hello",
    "hi",
    "mr",
    "mrs",
    "ms",
    "miss",
    "dr",
    "prof",
    "professor",
    "herr",
    "frau",
    "madame",
    "monsieur",
    "live at",
    "live in",
    "living in",
    "lives in",
    "lives at",
    "address is",
    "moved to",
    "born in",
    "born on",
    "from",
    "password is",
    "pin is",
    "code is",
    "number is",
)
_CUES = frozenset(tuple(cue.split()) for cue in _NAME_CUES)
_AFTER_CUE = 4
"""Words that may belong to what a cue announces."""

_STREETS = listed("street st road rd avenue ave lane ln drive boulevard blvd square court way place close")
_NUMBER_WORDS = listed(
    """zero oh one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand double triple
    dash hyphen dot at underscore plus slash"""
)
_ALWAYS = FUNCTION_WORDS - _NUMBER_WORDS - {"will", "may", "hi"}


def vocabulary(texts: Iterable[str]) -> frozenset[str]:
    """The words that texts use in small letters, apart from those with which numbers and addresses are spelled out."""
    found = {token for text in texts for token in _TOKEN.findall(text) if token.isalpha() and token.islower()}
    return frozenset(found - _NUMBER_WORDS)


def anonymous(text: str, known: Collection[str]) -> str:
    """The text with `HIDDEN` for all that is not known to be harmless."""
    seen = "".join(letter for letter in unicodedata.normalize("NFKC", text) if unicodedata.category(letter) != "Cf")
    whole = _TITLE.sub(r"\1", seen.replace("’", "'"))
    told = [_anonymous_sentence(sentence, known) for sentence in sentences(whole)]
    return re.sub(rf"{re.escape(HIDDEN)}(?: {re.escape(HIDDEN)})+", HIDDEN, " ".join(told))


def _anonymous_sentence(sentence: str, known: Collection[str]) -> str:
    tokens = [token for chunk in _CHUNK.findall(sentence) for token in _tokens(chunk)]
    hidden = _announced(tokens) | _spelled(tokens) | _streets(tokens)
    kept = (_kept(token, number, known) and number not in hidden for number, token in enumerate(tokens))
    told = [token.casefold() if keep else HIDDEN for token, keep in zip(tokens, kept, strict=True)]
    return re.sub(r" ([.,!?;:])", r"\1", " ".join(told))


def _tokens(chunk: str) -> list[str]:
    """Words and signs of what stands between two spaces; an address or a number is one, and is hidden whole."""
    bare = chunk.rstrip(".,!?;:)\"'")
    if _MACHINE_WORD.search(bare):
        return [HIDDEN]
    return _TOKEN.findall(chunk)


def _kept(token: str, place: int, known: Collection[str]) -> bool:
    """A word with a capital in mid-sentence is a name, whatever it means otherwise; except for "I"."""
    if not token[0].isalnum():
        return token != HIDDEN
    word = token.casefold()
    capital = token[0].isupper() and place > 0 and word not in _ALWAYS
    return not capital and (word in _ALWAYS or word in known)


def _announced(tokens: list[str]) -> set[int]:
    """Places of what follows a cue, up to the next sign or word that any text has."""
    small = [token.casefold() for token in tokens]
    hidden: set[int] = set()
    for number in range(len(small)):
        for length in (1, 2):
            if tuple(small[number : number + length]) in _CUES:
                hidden |= _following(small, number + length)
    return hidden


def _following(small: list[str], first: int) -> set[int]:
    """A sign right after the cue belongs to it ("Regards, Ann"), as do the little words of names ("de la")."""
    first += first < len(small) and small[first] in ",:"
    found: set[int] = set()
    for place in range(first, min(len(small), first + _AFTER_CUE)):
        word = small[place]
        if not word[0].isalpha() or word in _ALWAYS:
            break
        found.add(place)
    return found


def _spelled(tokens: list[str]) -> set[int]:
    """Places of number words; of "at" and "dot" what stands beside them too."""
    small = [token.casefold() for token in tokens]
    numbers = {place for place, word in enumerate(small) if word in _NUMBER_WORDS - {"at"}}
    dots = [place for place, word in enumerate(small) if word in ("dot", "underscore", "dash", "hyphen")]
    beside = {near for dot in dots for near in range(dot - 3, dot + 2) if 0 <= near < len(small)}
    return numbers | beside | {place for place, word in enumerate(small) if word == "at" and place in beside}


def _streets(tokens: list[str]) -> set[int]:
    """Places of "Rose Lane" and of what stands before it."""
    streets = [
        place for place, token in enumerate(tokens) if place and token.casefold() in _STREETS and token[0].isupper()
    ]
    return {near for place in streets for near in range(max(0, place - 2), place + 1)}
