"""Ratings split by time, as they would have been seen on one day: what everybody had said until then, and some viewers.

Pure. A window begins and ends at shares of all ratings in their order of time. Factors are learnt from what everybody
said before it begins. Its viewers are those who rate in it: what they said before, and the first half of what they say
in it, is known of them (and folded in); the films that they give four stars or more in the second half are to be found.
So nothing later than the beginning is known of anybody, and nothing later than that half of the viewer himself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from .films import Catalogue
from .knowledge import LIKED
from .ratings import Person, Rating, UserId

FEWEST_KNOWN = 5


@dataclass(frozen=True, slots=True)
class Viewer:
    """Whom films are found for. `later` are the films, by position, that he goes on to like."""

    user: UserId
    known: Person
    later: frozenset[int]


@dataclass(frozen=True, slots=True)
class Window:
    """`past` is what everybody said before it began."""

    past: tuple[Rating, ...]
    viewers: tuple[Viewer, ...]


def window(catalogue: Catalogue, ratings: Sequence[Rating], begin: float, end: float) -> Window:
    """The window between two shares of the ratings, which are in their order of time.

    Viewers of whom fewer than `FEWEST_KNOWN` ratings are known, or who later like nothing, are left out.
    """
    edge, last = round(begin * len(ratings)), round(end * len(ratings))
    before, inside = defaultdict[UserId, list[Rating]](list), defaultdict[UserId, list[Rating]](list)
    for rating in ratings[:edge]:
        before[rating.user].append(rating)
    for rating in ratings[edge:last]:
        inside[rating.user].append(rating)
    viewers = (_viewer(catalogue, user, before.get(user, []), new) for user, new in inside.items())
    chosen = tuple(one for one in viewers if len(one.known.ratings) >= FEWEST_KNOWN and one.later)
    return Window(tuple(ratings[:edge]), chosen)


def _viewer(catalogue: Catalogue, user: UserId, before: Sequence[Rating], new: Sequence[Rating]) -> Viewer:
    half = len(new) // 2
    known = Person()
    for rating in (*before, *new[:half]):
        known.take(rating, catalogue)
    later = {catalogue.position(rating.film) for rating in new[half:] if rating.stars >= LIKED}
    return Viewer(user, known, frozenset(film for film in later if film is not None and film not in known.ratings))
