"""How long to wait before an engine that died is started again. Pure."""

from __future__ import annotations

from dataclasses import dataclass

FIRST, LONGEST = 0.1, 30.0
"""Seconds before the second start in a row, and the most that is ever waited."""

HEALTHY = 10.0
"""An engine that was up so many seconds counts as a good one: what comes after begins anew."""


@dataclass(slots=True)
class Backoff:
    """Counts deaths in a row; the first restart is at once, each later one waits twice as long."""

    deaths: int = 0

    def died(self, up_seconds: float) -> float:
        """An engine died after having been up so long; how many seconds to wait before the next start."""
        self.deaths = 1 if up_seconds >= HEALTHY else self.deaths + 1
        return 0.0 if self.deaths == 1 else min(FIRST * 2.0 ** (self.deaths - 2), LONGEST)
