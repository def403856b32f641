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


class Opinions:
    """The opinions of the default model. Remembers how usual each name is."""

    def __init__(self, system: llmos.System) -> None:
        self._system = system
        self._usual: dict[str, float] = {}

    def of(self, liked: Sequence[Film], films: Sequence[Film]) -> Numbers:
        """The gain in log-likelihood of each film's name after those of liked films, the latest first; [films]."""
        told = "".join(f"- {film.name} ({film.year})\n" for film in liked[:CONTEXT])
        names = [f" {film.name}" for film in films]
        new = [name for name in dict.fromkeys(names) if name not in self._usual]
        if new:
            self._usual |= dict(zip(new, self._score("", new), strict=True))
        found = self._score(told, names)
        return np.array([one - self._usual[name] for one, name in zip(found, names, strict=True)], dtype=np.float32)

    def _score(self, told: str, names: Sequence[str]) -> list[float]:
        return [one.logprob for one in self._system.score(f"{HEAD}{told}{TAIL}", names)]
