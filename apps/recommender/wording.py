"""How an explanation may be worded: a regular expression of all the sentences that a language model may choose among.

Pure. It does not know a language model. Rules: each value stands in a place that means what the value is, with the film
it belongs to; what a sentence says is in the features, whichever way it is worded. A small model chooses what to
mention and how; it could not be trusted with more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from .features import Circle, Features, Neighbour, stars_text
from .films import Film

_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")
_MAY = "(you might|you may|you should) (like|enjoy)"


def pattern(features: Features) -> str:
    """The regular expression of the sentences about these features."""
    film = features.film
    openings = [one for near in features.neighbours for one in _about_neighbour(near, film)]
    more = [_about_circle(features.circle)] if features.circle is not None else []
    return _one_of(openings or _about_film(features)) + "".join(f"( {one})?" for one in more)


def _about_neighbour(near: Neighbour, film: Film) -> Iterable[str]:
    known, new, stars = _literal(str(near.film)), _literal(str(film)), _literal(stars_text(near.stars))
    liked = "(loved|liked|enjoyed)" if near.stars == 5 else "(liked|enjoyed)"
    shared = [genre for genre in film.genres if genre in near.film.genres]
    also = _also(shared)
    yield rf"You gave {known} {stars}, so {_MAY} {new}( too)?{also}\."
    yield rf"You {liked} {known}, so {_MAY} {new}( too)?{also}\."
    yield rf"Because you {liked} {known}, {_MAY} {new}( too)?{also}\."
    if shared:
        yield rf"Like {known}, which you gave {stars}, {new} is {_genres(shared)}\."


def _also(shared: Sequence[str]) -> str:
    return rf"(, also {_genres(shared)}|: both are {_genres(shared)})?" if shared else ""


def _about_film(features: Features) -> Iterable[str]:
    film, genres = _literal(str(features.film)), features.film.genres
    kind = rf" is {_genres(genres)}" if genres else " is a film"
    yield rf"You (might|may|should) (like|enjoy) {film}\."
    if features.words is None:
        yield rf"{film}{kind}\."
    else:
        yield rf"{film}{kind}, {features.words}% like your words\."


def _about_circle(circle: Circle) -> str:
    viewers = "viewers with (taste like yours|similar taste)"
    mean = _literal(stars_text(circle.mean))
    counted = rf"{circle.liked} of {circle.rated} {viewers} (liked|enjoyed) (it|the film)\."
    return _one_of((counted, rf"Viewers with taste like yours gave (it|the film) {mean} on average\."))


def _genres(genres: Sequence[str]) -> str:
    """One genre, or two neighbours in the list."""
    words = [_literal(genre) for genre in genres]
    return _one_of([*words, *(f"{one} and {other}" for one, other in pairwise(words))])


def _one_of(patterns: Iterable[str]) -> str:
    return f"({'|'.join(patterns)})"


def _literal(text: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", text)
