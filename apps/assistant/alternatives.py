"""Several answers to one question: children of the process, each with a seed of its own, and the best one kept.

Rules: the first child answers greedily, so that the best is never less likely than one answer alone would be; children
share the pages of the conversation, copy on write, and answer at the same time; all but the best are ended, whatever
happens.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import llmos

from .scoring import Scored, best_by_likelihood, scored

MOST = 16
TEMPERATURES: Final = (0.5, 0.8, 1.1)
"""Of the children after the first, in turns."""
TOP_P = 0.95


@dataclass(frozen=True, slots=True)
class Chosen:
    """What came of it. `process` has the best answer in its context, and is the caller's to keep or to end.

    `pages` are those of the question's process, `shared` those of them that the children did not copy.
    """

    process: llmos.Process
    candidates: tuple[Scored, ...]
    best: int
    pages: int
    shared: int


def explore(parent: llmos.Process, count: int, max_tokens: int, seed: int = 0) -> Chosen:
    """Answer where the parent's context ends, `count` times; the parent stays as it is.

    Raises what the kernel says when there is no room for so many.
    """
    children = parent.fork(count)
    kept: llmos.Process | None = None
    try:
        info = parent.info()
        answers = _answers(children, max_tokens, seed)
        candidates = scored(answers, _scores(parent, answers))
        best = best_by_likelihood(candidates)
        kept = children[best]
        return Chosen(kept, candidates, best, info.pages.device, info.pages.shared)
    finally:
        for child in children:
            if kept is None or child is not kept:
                with suppress(llmos.Error):
                    child.end()


def temperature(place: int) -> float:
    """Of a child, by its place."""
    return TEMPERATURES[(place - 1) % len(TEMPERATURES)] if place else 0.0


def _answers(children: Sequence[llmos.Process], max_tokens: int, seed: int) -> list[llmos.Generated]:
    generations = [
        child.generate(max_tokens=max_tokens, temperature=temperature(place), top_p=TOP_P, seed=seed + place)
        for place, child in enumerate(children)
    ]
    return [generation.result() for generation in generations]


def _scores(parent: llmos.Process, answers: Sequence[llmos.Generated]) -> list[llmos.ContinuationScore]:
    """Of each answer; one without tokens has no score of its own."""
    written = iter(parent.score([answer.token_ids for answer in answers if answer.token_ids]))
    return [next(written) if answer.token_ids else _NOTHING for answer in answers]


_NOTHING: Final = llmos.ContinuationScore("", (), (), float("-inf"), False)
