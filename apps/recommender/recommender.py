"""The recommender: what the terminal and the tools ask, over the app's files, the encoder and the language model.

It does not know who asks it how. Rules: what `rate` and `like` have returned for is on the disk; each question first
reads what was said since, here or in another program; the lock is never held while a model works, so one slow
question holds up nobody else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock

import llmos

from .explaining import Explanation, Wording, explain
from .films import Catalogue, Film, read_films
from .journal import Journal
from .knowledge import Knowledge, learn
from .meanings import Meanings, meanings, said
from .opinions import Opinions
from .ranking import WEIGHTS, Shortlist, Weights, reordered
from .ratings import People, Rating, UserId, Wish, check_stars, check_words, read_ratings
from .tastes import SETTINGS, Numbers, Settings

FILMS, RATINGS = "films.csv", "ratings.csv"
MOST = 100
"""Films that can be asked for at a time."""

LOOKED_AT = 20
"""The first films on which the language model's opinion is asked, where it counts."""


@dataclass(frozen=True, slots=True)
class Recommended:
    """A film, and its place."""

    place: int
    film: Film


class Recommender:
    """Recommendations for all users of one app. May be used by several threads."""

    def __init__(
        self, system: llmos.System, knowledge: Knowledge, journal: Journal, clock: Callable[[], float] = time.time
    ) -> None:
        self._system = system
        self._knowledge = knowledge
        self._journal = journal
        self._opinions = Opinions(system)
        self._clock = clock
        self._lock = Lock()
        self._meanings: Meanings | None = None
        self._reading = Lock()

    @property
    def catalogue(self) -> Catalogue:
        """All films."""
        return self._knowledge.catalogue

    def film(self, said: str) -> Film:
        """A film by its id or title. Raises `NotFound`."""
        return self.catalogue.films[self.catalogue.resolve(said)]

    @property
    def damaged(self) -> int:
        """Lines of the journal that a crash has torn; none of them was acknowledged."""
        return self._journal.damaged

    def recommend(self, user: UserId, count: int = 10) -> tuple[Recommended, ...]:
        """The films that a user has not rated and will like best, best first. Raises `InvalidArgument`."""
        if not 1 <= count <= MOST:
            raise llmos.InvalidArgument(f"{count} films cannot be recommended", f"1 to {MOST}")
        likeness = self._likeness(user)
        with self._lock:
            shortlist = self._knowledge.shortlist(user, max(count, LOOKED_AT), likeness)
            liked = [self.catalogue.films[film] for film in self._knowledge.liked(user)]
        ordered = self._with_opinion(shortlist, liked)[:count]
        return tuple(Recommended(place, self.catalogue.films[film]) for place, film in enumerate(ordered, 1))

    def rate(self, user: UserId, film: str, stars: float) -> Rating:
        """Keep a rating of a film by its id or title: it counts from the next question on.

        Raises `NotFound`, `InvalidArgument`, `LimitExceeded`.
        """
        found = self.film(film)
        rating = Rating(user, found.id, check_stars(stars), self._clock())
        with self._lock:
            self._journal.append(rating)
        return rating

    def like(self, user: UserId, words: str) -> Wish:
        """Keep what a user says he likes. Raises `InvalidArgument`, `LimitExceeded`."""
        wish = Wish(user, check_words(words), self._clock())
        with self._lock:
            self._journal.append(wish)
        return wish

    def explain(self, user: UserId, film: str, wording: Wording = Wording.BOUND) -> Explanation:
        """Why a film may be one for a user. Raises `NotFound`."""
        position = self.catalogue.resolve(film)
        likeness = self._likeness(user)
        with self._lock:
            features = self._knowledge.features(user, position, likeness)
        return explain(self._system, features, wording)

    def ratings(self, user: UserId) -> tuple[Rating, ...]:
        """What a user has rated, the latest first."""
        with self._lock:
            self._read_news()
            return tuple(reversed(self._knowledge.people.person(user).ratings.values()))

    def _with_opinion(self, shortlist: Shortlist, liked: Sequence[Film]) -> Sequence[int]:
        """The films of a shortlist, the first of them in the order that the model's opinion changes, if it counts."""
        weight = self._knowledge.weights.opinion
        head = Shortlist(shortlist.films[:LOOKED_AT], shortlist.scores[:LOOKED_AT])
        if not weight or not liked or not head.films:
            return shortlist.films
        thought = self._opinions.of(liked, [self.catalogue.films[film] for film in head.films])
        return (*reordered(head, thought, weight).films, *shortlist.films[LOOKED_AT:])

    def _likeness(self, user: UserId) -> Numbers | None:
        """How near each film is to the nearest thing that a user says he likes, [films]; reads the news first."""
        with self._lock:
            self._read_news()
            words = list(self._knowledge.people.person(user).wishes)
        if not words:
            return None
        likeness: Numbers = self._read_meanings().likeness(said(self._system, words)).max(0)
        return likeness

    def _read_news(self) -> None:
        for entry in self._journal.news():
            self._knowledge.people.take(entry)

    def _read_meanings(self) -> Meanings:
        with self._reading:
            if self._meanings is None:
                self._meanings = meanings(self._system, self.catalogue)
            return self._meanings


def open_recommender(system: llmos.System, settings: Settings = SETTINGS, weights: Weights = WEIGHTS) -> Recommender:
    """Read catalogue, ratings and journal from the app's files, and learn. Raises `NotFound`, `InvalidArgument`."""
    catalogue = read_films(_table(system, FILMS))
    people = People(catalogue, read_ratings(_table(system, RATINGS)))
    journal = Journal(system)
    for entry in journal.news():
        people.take(entry)
    return Recommender(system, learn(catalogue, people, settings, weights), journal)


def _table(system: llmos.System, path: str) -> str:
    try:
        return system.files.read_bytes(path).decode()
    except llmos.NotFound:
        name = system.whoami().name
        raise llmos.NotFound(
            f"the app has no {path}", f"put it there: llmosctl fs put {path} /home/{name}/{path}"
        ) from None
    except UnicodeDecodeError:
        raise llmos.InvalidArgument(f"{path} is no text in UTF-8", "write it as CSV in UTF-8") from None
