"""The recommender in a terminal: lines in, lines out.

It does not know how films are found. Rules: what was asked for goes to stdout, everything else to stderr; a line that
means nothing costs a hint, and the conversation goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TextIO

import llmos

from .ratings import UserId
from .recommender import Recommender

HELP = """\
recommend [N]        what to see next
why FILM             why a film may be one for you
rate FILM STARS      half a star to five; it counts at once
like WORDS           say what you like, in your own words
find WORDS           films whose title has these words
ratings              what you have rated
quit
FILM is an id or a whole title."""


class Terminal:
    """What one user can ask."""

    def __init__(self, recommender: Recommender, user: UserId, out: TextIO = sys.stdout) -> None:
        self._recommender = recommender
        self._user = user
        self._out = out

    def recommend(self, count: int = 10, why: bool = False) -> None:
        """Print recommendations, each with its explanation if that is asked for."""
        for one in self._recommender.recommend(self._user, count):
            self._say(f"{one.place:>3}. {one.film.description}  [{one.film.id}]")
            if why:
                self._say(f"     {self._recommender.explain(self._user, one.film.id).text}")

    def why(self, film: str) -> None:
        """Print why a film."""
        self._say(self._recommender.explain(self._user, film).text)

    def rate(self, film: str, stars: str) -> None:
        """Keep a rating."""
        rating = self._recommender.rate(self._user, film, _number(stars))
        self._say(f"{self._recommender.film(rating.film)}: {rating.stars:g}")

    def like(self, words: str) -> None:
        """Keep what the user says he likes."""
        self._say(f"you like: {self._recommender.like(self._user, words).words}")

    def find(self, words: str) -> None:
        """Print films by words of their titles."""
        for film in self._recommender.catalogue.find(words):
            self._say(f"{film.id:>7}  {film.description}")

    def ratings(self) -> None:
        """Print what the user has rated, the latest first."""
        for rating in self._recommender.ratings(self._user):
            self._say(f"{rating.stars:>4g}  {self._recommender.film(rating.film)}")

    def converse(self, lines: Iterable[str]) -> None:
        """Answer line by line until `quit` or the end."""
        for line in lines:
            word, _, rest = line.strip().partition(" ")
            if word in ("quit", "exit"):
                return
            try:
                self._answer(word, rest.strip())
            except llmos.Error as error:
                complain(error)

    def _answer(self, word: str, rest: str) -> None:
        commands: dict[str, Callable[[], None]] = {
            "recommend": lambda: self.recommend(_count(rest)),
            "why": lambda: self.why(rest),
            "rate": lambda: self.rate(*_film_and_stars(rest)),
            "like": lambda: self.like(rest),
            "find": lambda: self.find(rest),
            "ratings": self.ratings,
            "help": lambda: self._say(HELP),
        }
        if word and word not in commands:
            raise llmos.InvalidArgument(f"{word!r} is no command", "`help` tells what there is")
        if word:
            commands[word]()

    def _say(self, text: str) -> None:
        print(text, file=self._out, flush=True)


def complain(error: llmos.Error) -> None:
    """Tell what went wrong."""
    print(f"error: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr, flush=True)


def _film_and_stars(rest: str) -> tuple[str, str]:
    film, _, stars = rest.rpartition(" ")
    return film, stars


def _count(rest: str) -> int:
    if not rest:
        return 10
    if not rest.isdecimal():
        raise llmos.InvalidArgument(f"{rest!r} is no number of films", "recommend 10")
    return int(rest)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise llmos.InvalidArgument(f"{text!r} are no stars", "0.5 to 5, in halves") from None
