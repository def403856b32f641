"""Which films come first for somebody: his taste, what people see lately, and what his words mean, added up.

Pure. What a language model thinks of the first films is added afterwards (`reordered`). Rules: scores of different
kinds are brought to the same scale before they are added; what somebody has rated is not recommended to him; of equal
scores the film that stands first in the catalogue comes first.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from .tastes import Numbers, standard


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each kind of score counts beside that of the factors, which counts 1.

    `opinion` is what the language model says of the first films; the README tells why it counts nothing by default.
    """

    popularity: float = 0.8
    words: float = 0.32
    opinion: float = 0.0


WEIGHTS = Weights()


@dataclass(frozen=True, slots=True)
class Shortlist:
    """The first films for somebody by position, best first, and their scores."""

    films: tuple[int, ...]
    scores: Numbers


def add_up(taste: Numbers, popular: Numbers, likeness: Numbers | None = None, weights: Weights = WEIGHTS) -> Numbers:
    """The scores of all films, [..., films]: from factors, [..., films], from what is popular, [films], and from the
    likeness to somebody's words, [..., films], where he has said any."""
    scores: Numbers = standard(taste) + weights.popularity * standard(popular)
    if likeness is not None:
        scores = scores + weights.words * standard(likeness)
    return scores


def first(scores: Numbers, rated: Collection[int], count: int) -> Shortlist:
    """The best of one person's scores, [films], without the films that he has rated."""
    allowed = scores.astype(np.float32, copy=True)
    allowed[list(rated)] = -np.inf
    order = np.argsort(-allowed, kind="stable")[: min(count, len(allowed) - len(rated))]
    return Shortlist(tuple(map(int, order)), allowed[order])


def reordered(shortlist: Shortlist, opinions: Numbers, weight: float) -> Shortlist:
    """The same films, with what a language model thinks of each, [films], counting so much beside their scores."""
    scores = standard(shortlist.scores) + weight * standard(opinions)
    order = np.argsort(-scores, kind="stable")
    return Shortlist(tuple(shortlist.films[place] for place in order), scores[order])
