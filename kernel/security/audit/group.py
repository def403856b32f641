"""What was noted since the last group left for the writer: repeats are counted, floods are folded.

It does not know files. Rules: an entry object noted again costs a counter; beyond a bound of different entries of one
principal, and of all of them, more are summed up by kind, action and outcome, so that scanning fills no disk and a disk
that takes nothing fills no memory; entries about keys, policies and the daemon are never folded, and nothing is dropped
without a number.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from llmos.kernel.security.audit.record import Entry, Kind

MOST_DIFFERENT = 256
"""Different entries of one principal in one group that are kept apart."""

MOST_ACTIONS = 32
"""Summaries of one principal in one group: it can choose the names of actions that do not exist."""

MOST_NOTED = 1 << 16
"""Different entries in one group, of all principals, beyond which only kinds are told apart."""

_FOLDED = frozenset({Kind.CALL, Kind.DENIAL, Kind.REFUSAL, Kind.STRIKE, Kind.PREEMPTION})


@dataclass(slots=True)
class Noted:
    """An entry, when it was first noted, and how often."""

    entry: Entry
    at: float
    count: int = 1


@dataclass(frozen=True, slots=True)
class _Fold:
    """What entries that are summed up together have in common; empty where they differ."""

    kind: Kind
    principal: str = ""
    action: str = ""
    outcome: str = ""


@dataclass(slots=True, eq=False)
class Group:
    """Entries in the order of their first note."""

    noted: dict[Entry, Noted] = field(default_factory=dict)
    _different: dict[str, int] = field(default_factory=dict)
    _actions: dict[str, int] = field(default_factory=dict)
    _summaries: dict[_Fold, Noted] = field(default_factory=dict)

    def add(self, entry: Entry, at: float) -> None:
        """Note an entry that is not among them."""
        if entry.kind in _FOLDED:
            different = self._different.get(entry.principal, 0) + 1
            if different > MOST_DIFFERENT or len(self.noted) >= MOST_NOTED:
                self._sum_up(entry, at)
                return
            self._different[entry.principal] = different
        self.noted[entry] = Noted(entry, at)

    def _sum_up(self, entry: Entry, at: float) -> None:
        fold = _Fold(entry.kind, entry.principal, entry.action, entry.outcome)
        if fold not in self._summaries:
            fold = self._coarser(fold)
        noted = self._summaries.get(fold)
        if noted is not None:
            noted.count += 1
            return
        summary = _summary(fold, entry)
        self._actions[fold.principal] = self._actions.get(fold.principal, 0) + 1
        self._summaries[fold] = self.noted[summary] = Noted(summary, at)

    def _coarser(self, fold: _Fold) -> _Fold:
        """How a new summary can be told apart within the bounds."""
        if len(self.noted) >= MOST_NOTED:
            return _Fold(fold.kind)
        if self._actions.get(fold.principal, 0) >= MOST_ACTIONS:
            return _Fold(fold.kind, fold.principal)
        return fold


def _summary(fold: _Fold, entry: Entry) -> Entry:
    one = bool(fold.principal)
    return Entry(
        Kind.SUMMARY,
        principal=fold.principal,
        role=entry.role if one else "",
        tenant=entry.tenant if one else "",
        action=fold.action,
        outcome=fold.outcome,
        detail=f"more different entries of the kind {fold.kind.value} than are kept apart",
    )
