"""How long the calls of a tool take, learnt from the latest ones.

Pure. Rules: bounded in calls for each tool and in tools; what was learnt stays when a tool goes and comes back.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from statistics import median

from llmos.kernel.security.names import OwnedName

LATEST = 64
"""Calls that are remembered of one tool."""

MOST_TOOLS = 4096


@dataclass(slots=True, eq=False)
class Durations:
    """What is known of one tool."""

    calls: int = 0
    latest: deque[float] = field(default_factory=lambda: deque(maxlen=LATEST))

    def add(self, seconds: float) -> None:
        """A call was answered after so long."""
        self.calls += 1
        self.latest.append(seconds)

    @property
    def typical(self) -> float | None:
        """The median, in seconds; None before the first answer."""
        return median(self.latest) if self.latest else None


@dataclass(slots=True, eq=False)
class Experience:
    """What is known of all tools; who was used longest ago is forgotten first."""

    _known: OrderedDict[OwnedName, Durations] = field(default_factory=OrderedDict)

    def of(self, name: OwnedName) -> Durations:
        """What is known of a tool, to be added to."""
        durations = self._known.setdefault(name, Durations())
        self._known.move_to_end(name)
        if len(self._known) > MOST_TOOLS:
            self._known.popitem(last=False)
        return durations
