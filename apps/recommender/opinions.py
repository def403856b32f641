"""What a language model thinks of films for somebody: how likely it is that their names follow those that he liked.

It does not know how the films were found. What a name gains by the context counts, not how usual its words are by
themselves (pointwise mutual information, as `system.classify` does it). The README tells what that is worth.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import llmos

from .films import Film
from .tastes import Numbers

CONTEXT = 8
"""How many liked films the model is told, the latest."""

HEAD = "Films that one viewer loved:\n"
TAIL = "Another film that this viewer loved:\n-"


def opinions(system: llmos.System, liked: Sequence[Film], films: Sequence[Film]) -> Numbers:
    """The gain in log-likelihood of each film's name, [films]."""
    names = [f" {film.name}" for film in films]
    told = "".join(f"- {film.name} ({film.year})\n" for film in liked[:CONTEXT])
    after = system.score(f"{HEAD}{told}{TAIL}", names)
    before = system.score(f"{HEAD}{TAIL}", names)
    return np.array([one.logprob - other.logprob for one, other in zip(after, before, strict=True)], dtype=np.float32)
