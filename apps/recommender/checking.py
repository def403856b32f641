"""The check of an explanation: everything that it says must be in its features.

Pure. It does not know where the text comes from, and does not understand it: it knows which words there are. Rules:
a word is of the closed vocabulary, or belongs to the name or the genre of a film in the features; a genre is that of
every film that the sentence names, a year that of one of them, and where it names none of the recommended one; every
other number is one that was counted for those films, and of the kind that the words around it ask for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from .features import Features
from .films import Film
from .vocabulary import GENRE_WORDS, WORDS

LONGEST = 600
"""Characters of an explanation."""

_NUMBER = r"\d+(?:[.,]\d+)*"
_WORD = r"[^\W\d_]+(?:['’-][^\W\d_]+)*"
_MARKS = frozenset(".,;:!?\"'“”‘’()–—-/&%")
_ENDS = frozenset(".!?")
_STAR_WORDS = frozenset({"star", "stars"})
_PERCENT_WORDS = frozenset({"%", "percent"})
_PEOPLE_WORDS = frozenset({"viewer", "viewers", "people", "user", "users", "other", "others", "fans", "ratings"})
_YOU = frozenset({"you", "your", "you've"})
_MEAN = frozenset({"average", "mean"})
_ALIKE = frozenset({"alike", "like", "similar", "similarity"})
_OUT_OF = frozenset({"of", "/"})


@dataclass(frozen=True, slots=True)
class Named:
    """A film's name, perhaps with its year."""

    film: Film
    text: str


@dataclass(frozen=True, slots=True)
class Genre:
    """A genre of a film in the features."""

    genre: str
    text: str


@dataclass(frozen=True, slots=True)
class Number:
    """Digits."""

    text: str


@dataclass(frozen=True, slots=True)
class Other:
    """A word or a mark."""

    text: str


Token = Named | Genre | Number | Other


@dataclass(slots=True)
class _Names:
    """What the features name, as it may be written."""

    films: dict[str, Film] = field(default_factory=dict)
    genres: dict[str, str] = field(default_factory=dict)


def faults(text: str, features: Features) -> tuple[str, ...]:
    """What the text says that the features do not; nothing when it may be shown."""
    if not text.strip() or len(text) > LONGEST:
        return (f"an explanation has 1 to {LONGEST} characters",)
    tokens = _tokens(text, _names(features))
    if not any(isinstance(token, Named | Genre) for token in tokens):
        return ("it names no film and no genre",)
    return tuple(fault for sentence in _sentences(tokens) for fault in _sentence_faults(sentence, features))


def _names(features: Features) -> _Names:
    names = _Names()
    for film in reversed(features.films):
        for written in (film.name, film.title, str(film), f"{film.name} ({film.year})"):
            names.films[written] = film
    for genre in {genre for film in features.films for genre in film.genres}:
        others = [other for other, meant in GENRE_WORDS.items() if meant == genre]
        for written in (genre.casefold(), genre.casefold() + "s", re.sub("y$", "ies", genre.casefold()), *others):
            names.genres[written] = genre
    return names


def _tokens(text: str, names: _Names) -> list[Token]:
    """The longest name first wherever one begins."""
    parts = (
        rf"(?P<film>{_one_of(names.films)})",
        rf"(?P<genre>(?i:{_one_of(names.genres)}))",
        rf"(?P<number>{_NUMBER})",
        rf"(?P<other>{_WORD}|\S)",
    )
    return [_token(found, names) for found in re.finditer("|".join(parts), text)]


def _one_of(written: Mapping[str, object]) -> str:
    longest_first = sorted(written, key=len, reverse=True)
    return rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)" if longest_first else r"(?!)"


def _token(found: re.Match[str], names: _Names) -> Token:
    text = found[0]
    match found.lastgroup:
        case "film":
            return Named(names.films[text], text)
        case "genre":
            return Genre(names.genres[text.casefold()], text)
        case "number":
            return Number(text)
        case _:
            return Other(text)


def _sentences(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    sentence: list[Token] = []
    for token in tokens:
        sentence.append(token)
        if isinstance(token, Other) and token.text in _ENDS:
            yield sentence
            sentence = []
    yield sentence


def _sentence_faults(sentence: Sequence[Token], features: Features) -> Iterator[str]:
    named = tuple(token.film for token in sentence if isinstance(token, Named)) or (features.film,)
    for place, token in enumerate(sentence):
        match token:
            case Named():
                pass
            case Genre(genre, text):
                if not all(genre in film.genres for film in named):
                    yield f"{text} is not the genre of every film that the sentence names"
            case Number(text):
                if not _holds(sentence, place, named, features):
                    yield f"{text} is not in the features"
            case Other(text):
                if text not in _MARKS and text.casefold().replace("’", "'") not in WORDS:
                    yield f"{text!r} is not in the features"
            case _:
                assert_never(token)


def _holds(sentence: Sequence[Token], place: int, named: Sequence[Film], features: Features) -> bool:
    """Whether a number is one that was counted for the films named, of the kind that the words around it ask for."""
    value = _value(sentence[place].text)
    after, before = _text(sentence, place + 1), _text(sentence, place - 1)
    if value is None:
        return False
    if before == "(":
        return False  # a right year after a name is part of the name
    words = {token.text.casefold() for token in sentence}
    if after in _STAR_WORDS:
        return value in _stars(words, _last_named(sentence[:place]) or named, named, features)
    if after in _PERCENT_WORDS:
        return bool(words & _ALIKE) and value in _percents(named, features)
    if after in _PEOPLE_WORDS or after in _OUT_OF or _is_part(sentence, place):
        return value in _people(features)
    return value in _people(features) | {float(film.year) for film in named if film.year is not None}


def _is_part(sentence: Sequence[Token], place: int) -> bool:
    """Whether a number is the second of `9 of 12`."""
    return _text(sentence, place - 1) in _OUT_OF and place >= 2 and isinstance(sentence[place - 2], Number)


def _last_named(sentence: Sequence[Token]) -> tuple[Film, ...]:
    return tuple(token.film for token in sentence if isinstance(token, Named))[-1:]


def _stars(words: set[str], rated: Sequence[Film], named: Sequence[Film], features: Features) -> set[float]:
    """The user's where the sentence speaks to him, the mean of others where it speaks of a mean."""
    given = {near.stars for near in features.neighbours if near.film in rated} if words & _YOU else set()
    has_mean = features.film in named and words & _MEAN
    return given | {features.circle.mean} if features.circle is not None and has_mean else given


def _percents(named: Sequence[Film], features: Features) -> set[float]:
    found = {float(near.likeness) for near in features.neighbours if near.film in named}
    if features.words is not None and features.film in named:
        found.add(float(features.words))
    return found


def _people(features: Features) -> set[float]:
    return {float(features.circle.rated), float(features.circle.liked)} if features.circle is not None else set()


def _value(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _text(sentence: Sequence[Token], place: int) -> str:
    return sentence[place].text.casefold() if 0 <= place < len(sentence) else ""
