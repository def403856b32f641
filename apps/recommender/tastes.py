"""Tastes as factors: what films and people have in common, learnt from ratings by implicit's alternating least squares.

It does not know titles or words. The method is Hu, Koren, Volinsky 2008, "Collaborative Filtering for Implicit Feedback
Datasets", with a confidence of stars - 3: above nought the user likes the film, below he does not, and of what he has
not rated one knows a little that he does not like it. Rules: the films' factors are learnt once; a person's follow from
them and from what he has said so far, at each question anew, so that a rating counts at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from implicit.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from .ratings import Person, Rating

Numbers = npt.NDArray[np.float32]
Confidences = Mapping[int, float]

FACTORS, REGULARIZATION, ROUNDS = 64, 10.0, 15
NEUTRAL = 3.0
HALF_LIFE = 240 * 86_400.0
"""Seconds after which a rating counts half for what is popular.

These were chosen by the NDCG of two windows of MovieLens that end before the one that the README's figures are of.
"""


@dataclass(frozen=True, slots=True)
class Settings:
    """How factors are learnt."""

    factors: int = FACTORS
    regularization: float = REGULARIZATION
    seed: int = 0


SETTINGS = Settings()


class Tastes:
    """Factors of all films, and of the people whose ratings they were learnt from."""

    def __init__(self, films: int, people: Sequence[Confidences], settings: Settings = SETTINGS) -> None:
        self._films = films
        # implicit warns where BLAS has threads of its own: they would fight with the solver's.
        with threadpool_limits(1, "blas"):
            self._model = AlternatingLeastSquares(
                factors=settings.factors,
                regularization=settings.regularization,
                iterations=ROUNDS,
                random_state=settings.seed,
                num_threads=1,
            )
            self._model.fit(self._matrix(people), show_progress=False)
        self._directions = _unit(self._model.item_factors)
        self._people = _unit(self._model.user_factors)

    def factors(self, people: Sequence[Confidences]) -> Numbers:
        """The factors of people, [people, factors]; of somebody who has said nothing they are nought."""
        found: Numbers = self._model.recalculate_user(np.arange(len(people)), self._matrix(people))
        return found

    def scores(self, factors: Numbers) -> Numbers:
        """How much people with these factors like each film, [people, films]."""
        scores: Numbers = factors @ self._model.item_factors.T
        return scores

    def likeness(self, film: int, others: Sequence[int]) -> Numbers:
        """The cosine of a film with others: who likes the one likes the other."""
        likeness: Numbers = self._directions[list(others)] @ self._directions[film]
        return likeness

    def alike(self, factors: Numbers, count: int) -> list[int]:
        """The people learnt from whose taste is nearest to these factors [factors], nearest first."""
        likeness = self._people @ factors
        return [int(row) for row in np.argsort(-likeness, kind="stable")[:count] if likeness[row] > 0]

    def _matrix(self, people: Sequence[Confidences]) -> csr_matrix:
        starts = np.cumsum([0, *map(len, people)])
        films = np.fromiter((film for person in people for film in person), dtype=np.int32, count=starts[-1])
        weights = np.fromiter((one for person in people for one in person.values()), dtype=np.float32, count=starts[-1])
        return csr_matrix((weights, films, starts), shape=(len(people), self._films))


def confidences(person: Person) -> dict[int, float]:
    """What a person's ratings say; three stars say nothing but that he has seen the film."""
    return {film: rating.stars - NEUTRAL for film, rating in person.ratings.items() if rating.stars != NEUTRAL}


def popularity(films: int, ratings: Sequence[tuple[int, Rating]]) -> Numbers:
    """How much is liked what people have seen lately, [films]: ratings by the position of their film."""
    if not ratings:
        return np.zeros(films, dtype=np.float32)
    now = max(rating.time for _, rating in ratings)
    places = np.array([film for film, _ in ratings])
    liked = np.array([max(0.0, rating.stars - NEUTRAL) for _, rating in ratings])
    age = np.array([now - rating.time for _, rating in ratings])
    return np.log1p(np.bincount(places, liked * 0.5 ** (age / HALF_LIFE), films)).astype(np.float32)


def standard(scores: Numbers) -> Numbers:
    """Each row with mean 0 and deviation 1, so that scores of different kinds can be added; [..., films]."""
    deviation = scores.std(-1, keepdims=True)
    even = (scores - scores.mean(-1, keepdims=True)) / np.where(deviation > 0, deviation, 1)
    return np.asarray(even, dtype=np.float32)


def _unit(rows: Numbers) -> Numbers:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1), dtype=np.float32)
