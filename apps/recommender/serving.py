"""The recommender's functions as tools that other apps and people call.

It does not know what they do with it. Rules: who calls is what the kernel says, never an argument; a caller sees and
changes what was said under his own name only, and `user` tells apart the people for whom one caller asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import llmos

from .films import Film
from .ratings import UserId, caller_user
from .recommender import Recommender


@dataclass(frozen=True, slots=True)
class FilmAnswer:
    """A film, as tools tell it."""

    item: str
    title: str
    year: int | None
    genres: Sequence[str]


@dataclass(frozen=True, slots=True)
class RatedAnswer:
    """A rating that is kept."""

    item: str
    title: str
    stars: float


@dataclass(frozen=True, slots=True)
class ExplainedAnswer:
    """Why a film, and whether the model worded it."""

    item: str
    title: str
    why: str
    by_model: bool


class Desk:
    """The tools over one recommender."""

    def __init__(self, recommender: Recommender) -> None:
        self._recommender = recommender

    def recommend(self, count: int = 10, user: str = "", *, caller: llmos.ToolCaller) -> list[FilmAnswer]:
        """Recommends films that a user has not rated, best first.

        Args:
            count: how many, 1 to 100
            user: for whom, a name of the caller's choice
        """
        found = self._recommender.recommend(_user(caller, user), count)
        return [_film(one.film) for one in found]

    def rate(self, item: str, stars: float, user: str = "", *, caller: llmos.ToolCaller) -> RatedAnswer:
        """Keeps how a user liked a film; the next recommendation takes it into account.

        Args:
            item: the film's id or title
            stars: 0.5 to 5, in halves
            user: for whom, a name of the caller's choice
        """
        rating = self._recommender.rate(_user(caller, user), item, stars)
        film = self._recommender.film(rating.film)
        return RatedAnswer(film.id, str(film), rating.stars)

    def like(self, words: str, user: str = "", *, caller: llmos.ToolCaller) -> str:
        """Keeps what a user says he likes, in his own words.

        Args:
            words: such as: I like slow science fiction
            user: for whom, a name of the caller's choice
        """
        return self._recommender.like(_user(caller, user), words).words

    def explain(self, item: str, user: str = "", *, caller: llmos.ToolCaller) -> ExplainedAnswer:
        """Explains why a film may be one for a user, out of the catalogue and of ratings only.

        Args:
            item: the film's id or title
            user: for whom, a name of the caller's choice
        """
        film = self._recommender.film(item)
        explanation = self._recommender.explain(_user(caller, user), film.id)
        return ExplainedAnswer(film.id, str(film), explanation.text, explanation.by_model)


def offer(system: llmos.System, recommender: Recommender) -> None:
    """Offer the tools; `system.tools.serve()` answers them."""
    desk = Desk(recommender)
    for tool in (desk.recommend, desk.rate, desk.like, desk.explain):
        system.tools.register(tool)


def _user(caller: llmos.ToolCaller, name: str) -> UserId:
    return caller_user(caller.tenant, caller.principal, name)


def _film(film: Film) -> FilmAnswer:
    return FilmAnswer(film.id, film.title, film.year, film.genres)
