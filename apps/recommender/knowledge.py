"""What is known: the catalogue, what everybody has said so far, and the factors that were learnt from it.

It does not know the daemon: no files, no encoder, no language model. Rules: the factors of films and what is popular
are those of the time of learning; what a person has said counts from the next question on.
"""

from __future__ import annotations

from dataclasses import dataclass

from .features import Circle, Features, Neighbour
from .films import Catalogue
from .ranking import WEIGHTS, Shortlist, Weights, add_up, first
from .ratings import People, Person, UserId
from .tastes import SETTINGS, Numbers, Settings, Tastes, confidences, popularity

CIRCLE = 50
"""How many people with a like taste are looked at."""

NEIGHBOURS = 3
"""How many liked films an explanation may name: the nearest, and others that are at least half as near."""

LIKED = 4.0
"""Stars from which on somebody is said to like a film."""


@dataclass(frozen=True, slots=True, eq=False)
class Knowledge:
    """Everything that a recommendation follows from. `learnt` are the people whose rows the factors have."""

    catalogue: Catalogue
    people: People
    tastes: Tastes
    popular: Numbers
    learnt: tuple[UserId, ...]
    weights: Weights = WEIGHTS

    def taste(self, person: Person) -> Numbers:
        """The factors of one person, as of now."""
        factors: Numbers = self.tastes.factors([confidences(person)])[0]
        return factors

    def shortlist(self, user: UserId, count: int, likeness: Numbers | None = None) -> Shortlist:
        """The first films for a user; `likeness` is that of all films to what he says he likes, [films]."""
        person = self.people.person(user)
        scores = add_up(self.tastes.scores(self.taste(person)), self.popular, likeness, self.weights)
        return first(scores, person.ratings, count)

    def features(self, user: UserId, film: int, likeness: Numbers | None = None) -> Features:
        """What there is to say about a film and a user."""
        return Features(
            film=self.catalogue.films[film],
            neighbours=self._neighbours(self.people.person(user), film),
            words=None if likeness is None or likeness[film] <= 0 else round(100 * float(likeness[film])),
            circle=self._circle(user, film),
        )

    def liked(self, user: UserId) -> list[int]:
        """The films that a user likes, the latest first."""
        ratings = self.people.person(user).ratings
        return [film for film, rating in reversed(ratings.items()) if rating.stars >= LIKED]

    def _neighbours(self, person: Person, film: int) -> tuple[Neighbour, ...]:
        liked = [other for other, rating in person.ratings.items() if rating.stars >= LIKED and other != film]
        likeness = [round(100 * float(one)) for one in self.tastes.likeness(film, liked)]
        nearest = sorted(zip(likeness, liked, strict=True), key=lambda pair: (-pair[0], pair[1]))[:NEIGHBOURS]
        top = nearest[0][0] if nearest else 0
        return tuple(
            Neighbour(self.catalogue.films[other], person.ratings[other].stars, percent)
            for percent, other in nearest
            if percent > 0 and 2 * percent >= top
        )

    def _circle(self, user: UserId, film: int) -> Circle | None:
        near = self.tastes.alike(self.taste(self.people.person(user)), CIRCLE)
        people = [self.people.person(self.learnt[row]) for row in near if self.learnt[row] != user]
        stars = [person.ratings[film].stars for person in people if film in person.ratings]
        if not stars:
            return None
        return Circle(len(stars), sum(one >= LIKED for one in stars), round(sum(stars) / len(stars), 1))


def learn(catalogue: Catalogue, people: People, settings: Settings = SETTINGS, weights: Weights = WEIGHTS) -> Knowledge:
    """Learn from what everybody has said so far. Takes about a second for a hundred thousand ratings."""
    everybody = people.all()
    tastes = Tastes(len(catalogue), [confidences(person) for person in everybody.values()], settings)
    ratings = [(film, rating) for person in everybody.values() for film, rating in person.ratings.items()]
    return Knowledge(catalogue, people, tastes, popularity(len(catalogue), ratings), tuple(everybody), weights)
