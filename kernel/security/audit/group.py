"""What was noted since the last group left for the writer: repeats are counted, floods are folded.

It does not know files. Rules: an entry object noted again costs a counter; beyond a bound of different entries of one
principal, more of them are summed up by kind, action and outcome, so that scanning fills no disk; entries about keys,
policies and the daemon are never folded, and nothing is dropped without a number.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from llmos.kernel.security.audit.record import Entry, Kind

MOST_DIFFERENT = 256
"""Different entries of one principal in one group that are kept apart."""

_FOLDED = frozenset({Kind.CALL, Kind.DENIAL, Kind.REFUSAL, Kind.STRIKE, Kind.PREEMPTION})

_Fold = tuple[str, Kind, str, str]


@dataclass(slots=True)
class Noted:
    """An entry, when it was first noted, and how often."""

    entry: Entry
    at: float
    count: int = 1


@dataclass(slots=True, eq=False)
class Group:
    """Entries in the order of their first note."""

    noted: dict[Entry, Noted] = field(default_factory=dict)
    _different: dict[str, int] = field(default_factory=dict)
    _summaries: dict[_Fold, Entry] = field(default_factory=dict)

    def add(self, entry: Entry, at: float) -> None:
        """Note an entry that is not among them."""
        if entry.kind in _FOLDED:
            different = self._different.get(entry.principal, 0) + 1
            self._different[entry.principal] = different
            if different > MOST_DIFFERENT:
                self._fold(entry, at)
                return
        self.noted[entry] = Noted(entry, at)

    def _fold(self, entry: Entry, at: float) -> None:
        fold = (entry.principal, entry.kind, entry.action, entry.outcome)
        summary = self._summaries.get(fold)
        if summary is None:
            summary = self._summaries[fold] = _summary(entry)
            self.noted[summary] = Noted(summary, at)
        else:
            self.noted[summary].count += 1


def _summary(entry: Entry) -> Entry:
    return Entry(
        Kind.SUMMARY,
        principal=entry.principal,
        role=entry.role,
        tenant=entry.tenant,
        action=entry.action,
        outcome=entry.outcome,
        detail=f"more different entries of the kind {entry.kind.value} than are kept apart",
    )
