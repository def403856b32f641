"""How good a ranking is. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence


def ndcg(ranking: Sequence[int], wanted: Collection[int], depth: int = 10) -> float:
    """Normalized discounted cumulative gain of the first `depth`, with gains of 0 and 1 (Järvelin, Kekäläinen 2002)."""
    gain = sum(1 / math.log2(place + 2) for place, film in enumerate(ranking[:depth]) if film in wanted)
    return gain / sum(1 / math.log2(place + 2) for place in range(min(depth, len(wanted))))


def recall(ranking: Sequence[int], wanted: Collection[int], depth: int = 20) -> float:
    """The share of what is wanted among the first `depth`; of as many as fit there."""
    return sum(film in wanted for film in ranking[:depth]) / min(depth, len(wanted))


def mean(values: Sequence[float]) -> float:
    """The mean of at least one value."""
    return sum(values) / len(values)
