"""Words, sentences, and what of them carries meaning: for English, without a model.

Pure. It does not know what the words are for. Rules: a stem is only compared with other stems of this module, never
shown; a word is letters and digits with what joins them (`apt-get`, `sources.list`, `don't`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_WORD = re.compile(r"\w+(?:[-.'+]\w+)*")
_SENTENCE = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]?[A-Z0-9])|\n\s*\n|\n(?=[-*•]\s)")
_APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "`": "'"})
_SPACES = re.compile(r"\s+")


def listed(text: str) -> frozenset[str]:
    """The words of a list, however they are spaced."""
    return frozenset(text.split())


FUNCTION_WORDS = listed(
    """
    a about above after again against ain all also am an and any are aren aren't as at be because been before being
    below between both but by can can't cannot could couldn couldn't did didn didn't do does doesn doesn't doing don
    don't down during each else few for from further get gets getting got had hadn hadn't has hasn hasn't have haven
    haven't having he hello her here hers herself hi him himself his how how's however i i'd i'll i'm i've if in into
    is isn isn't it it's its itself just kind let let's like may me might more most must my myself need no nor not now
    of off ok on once one only or other ought our ours ourselves out over own please same she should shouldn
    shouldn't so some still such tell than thank thanks that that's the their theirs them themselves then there
    there's these they they're this those through thus to too under until up us very want was wasn wasn't way we
    we're were weren weren't what what's when where where's whether which while who who's whom whose why will with
    won won't would wouldn wouldn't yes yet you you'd you'll you're you've your yours yourself yourselves
    """
)
"""Words that any text has."""

NEGATIONS = listed("no not never none nobody nothing neither nor cannot without")
_ENDINGS = ("ations", "ation", "ingly", "edly", "ings", "ing", "ies", "ied", "ers", "er", "ed", "es", "ly", "s", "e")
_SHORTEST_STEM = 3


def plain(text: str) -> str:
    """One form for each letter, straight apostrophes, single spaces; nothing that cannot be seen."""
    normal = unicodedata.normalize("NFKC", text).translate(_APOSTROPHES)
    seen = "".join(letter if letter.isprintable() else " " for letter in normal)
    return _SPACES.sub(" ", seen).strip()


def words(text: str) -> list[str]:
    """All words of a text, in small letters, in order."""
    return [found.casefold() for found in _WORD.findall(unicodedata.normalize("NFKC", text).translate(_APOSTROPHES))]


def stem(word: str) -> str:
    """What a word has in common with its other forms; crude, and the same for all of them."""
    bare = word.removesuffix("'s").removesuffix("'")
    if any(letter.isdigit() or letter in ".+" for letter in bare):
        return bare
    for ending in _ENDINGS:
        if bare.endswith(ending) and len(bare) - len(ending) >= _SHORTEST_STEM:
            bare = bare.removesuffix(ending)
            break
    return bare[:-1] + "i" if bare.endswith("y") else bare


def content_stems(text: str) -> set[str]:
    """Stems of the words that carry meaning, parts of joined words beside the whole."""
    return {stem(part) for word in words(text) for part in _parts(word) if part not in FUNCTION_WORDS}


def is_negated(text: str) -> bool:
    """Whether a text says that something is not so."""
    return any(word in NEGATIONS or word.endswith("n't") for word in words(text))


def sentences(text: str) -> list[str]:
    """The sentences of a text, one line each."""
    return [line for part in _SENTENCE.split(text) if part and (line := _SPACES.sub(" ", part).strip())]


def _parts(word: str) -> Iterator[str]:
    yield word
    if "-" in word:
        yield from (part for part in word.split("-") if len(part) > 1)
