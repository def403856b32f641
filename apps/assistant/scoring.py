"""Which of several answers is kept: scores that can be measured, and the choice.

Pure. `likelihood` is the mean log-probability of an answer's tokens after the question, by the model itself without any
temperature: what it thinks of an answer, whatever luck has drawn it. `agreement` is how many
content words an answer shares with the others (self-consistency, Wang et al., 2023, arXiv:2203.11171, with words
instead of an extracted result).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import llmos

from .rules import content_words


@dataclass(frozen=True, slots=True)
class Scored:
    """An answer and what it is worth; higher is better for both."""

    answer: llmos.Generated
    likelihood: float
    agreement: float


def scored(answers: Sequence[llmos.Generated], scores: Sequence[llmos.ContinuationScore]) -> tuple[Scored, ...]:
    """Answers with the scores of their tokens, in the same order; an answer of no tokens is worth nothing."""
    words = [content_words(answer.text) for answer in answers]
    return tuple(
        Scored(answer, _mean(score.logprobs), _agreement(place, words))
        for place, (answer, score) in enumerate(zip(answers, scores, strict=True))
    )


def best_by_likelihood(candidates: Sequence[Scored]) -> int:
    """The place of the likeliest; the first of equal ones."""
    return max(range(len(candidates)), key=lambda place: (candidates[place].likelihood, -place))


def best_by_agreement(candidates: Sequence[Scored]) -> int:
    """The place of the one that agrees most with the others; the likelier of equal ones."""
    return max(
        range(len(candidates)), key=lambda place: (candidates[place].agreement, candidates[place].likelihood, -place)
    )


def _mean(logprobs: Sequence[float]) -> float:
    return sum(logprobs) / len(logprobs) if logprobs else float("-inf")


def _agreement(place: int, words: Sequence[frozenset[str]]) -> float:
    """The mean of what it shares with each other one, 0 to 1 (Jaccard)."""
    others = [one for number, one in enumerate(words) if number != place]
    shares = [len(words[place] & one) / len(words[place] | one) if words[place] | one else 1.0 for one in others]
    return sum(shares) / len(shares) if shares else 1.0
