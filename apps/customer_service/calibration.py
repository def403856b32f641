"""Fits the rule that says whether a question has its answer in the documents.

Pure. Logistic regression by gradient descent, in plain Python because it has three numbers; questions with and without
an answer weigh the same, however many there are of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .evidence import Rule

ROUNDS = 3000
STEP = 2.0


@dataclass(frozen=True, slots=True)
class Observation:
    """The figures of a question's nearest passage, and whether the documents have its answer."""

    cosine: float
    coverage: float
    answered: bool


def fit(observations: Sequence[Observation], rounds: int = ROUNDS) -> Rule:
    """The rule that explains observations best; there must be some of both kinds."""
    rule = Rule(0.0, 0.0, 0.0)
    for _ in range(rounds):
        rule = _stepped(rule, observations)
    return rule


def _stepped(rule: Rule, observations: Sequence[Observation]) -> Rule:
    with_answer = sum(one.answered for one in observations)
    weights = {True: 0.5 / with_answer, False: 0.5 / (len(observations) - with_answer)}
    errors = [
        weights[one.answered] * (rule.confidence(one.cosine, one.coverage) - one.answered) for one in observations
    ]
    pairs = list(zip(errors, observations, strict=True))
    return Rule(
        rule.cosine - STEP * sum(error * one.cosine for error, one in pairs),
        rule.coverage - STEP * sum(error * one.coverage for error, one in pairs),
        rule.offset - STEP * sum(errors),
    )
