"""Finds out whether some rule of a set is about anything that another rule is about.

It does not know effects or conditions. Rules: a no is sure; a yes may be wrong where only the roles that keys give
could tell, or where many rules would have to be compared. The time hardly depends on how many rules there are.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from llmos.kernel.security.policy.covering import Entry
from llmos.kernel.security.policy.document import EVERYWHERE
from llmos.kernel.security.policy.vocabulary import general, meet

_PRINCIPAL = "principal:"
_MOST_COMPARED = 40
"""Rules that are compared with one whose objects begin alike."""


@dataclass(slots=True, eq=False)
class _Bucket:
    """Rules whose objects begin alike. `actions` are those of all of them."""

    actions: int = 0
    principals: dict[str, list[Entry]] = field(default_factory=dict)
    others: list[Entry] = field(default_factory=list)

    def add(self, entry: Entry) -> None:
        """Put a rule into it."""
        self.actions |= entry.actions
        who = entry.rule.who
        (self.principals.setdefault(who, []) if who.startswith(_PRINCIPAL) else self.others).append(entry)

    def near(self, entry: Entry) -> Iterator[Entry]:
        """Rules that have an action and perhaps a caller in common with it."""
        if self.actions & entry.actions:
            yield from (other for other in self._of(entry.rule.who) if other.actions & entry.actions)

    def _of(self, who: str) -> Iterator[Entry]:
        """Rules that may hold for somebody for whom this one's hold: any but those of another principal."""
        yield from self.others
        if who.startswith(_PRINCIPAL):
            yield from self.principals.get(who, ())
        else:
            for entries in self.principals.values():
                yield from entries


class _Shelf:
    """The rules of one tenant by the literal beginnings of their objects."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._buckets: dict[str, _Bucket] = {}
        for entry in entries:
            self._buckets.setdefault(_head(entry), _Bucket()).add(entry)
        self._heads = sorted(self._buckets)

    def near(self, entry: Entry) -> Iterator[Entry]:
        """Rules whose objects may begin like that of this one."""
        for head in self._agreeing(_head(entry)):
            yield from self._buckets[head].near(entry)

    def _agreeing(self, head: str) -> Iterator[str]:
        """Beginnings of this one, and those that begin with it."""
        yield from (head[:length] for length in range(len(head)) if head[:length] in self._buckets)
        for number in range(bisect_left(self._heads, head), len(self._heads)):
            if not self._heads[number].startswith(head):
                return
            yield self._heads[number]


class MeetIndex:
    """A set of rules; never changes."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        by_tenant: dict[str, list[Entry]] = {}
        for entry in entries:
            by_tenant.setdefault(entry.rule.tenant, []).append(entry)
        self._shelves = {tenant: _Shelf(some) for tenant, some in by_tenant.items()}

    def meets(self, entry: Entry) -> bool:
        """Whether some question could fit this rule and one of the set."""
        pattern = general(entry.rule.object)
        for number, other in enumerate(self._near(entry)):
            if number == _MOST_COMPARED or meet(pattern, general(other.rule.object)):
                return True
        return False

    def _near(self, entry: Entry) -> Iterator[Entry]:
        tenant = entry.rule.tenant
        for name in list(self._shelves) if tenant == EVERYWHERE else (tenant, EVERYWHERE):
            if name in self._shelves:
                yield from self._shelves[name].near(entry)


def _head(entry: Entry) -> str:
    return general(entry.rule.object).partition("*")[0]
