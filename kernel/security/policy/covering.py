"""Finds the rules that cover another one: whose who, tenant, object and action fit whenever the other's do.

It does not know what that means for policies. Rule: what is found surely covers; the conditions of what is found are
none, or the same as those of the other. The time hardly depends on how many rules there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from llmos.kernel.security.policy.document import ANY, EVERYWHERE, Effect, Rule
from llmos.kernel.security.policy.grants import Caller, Grants
from llmos.kernel.security.policy.patterns import SELF, covers, own_words

_NO_WORDS: frozenset[str] = frozenset()
_MOST_COMPARED = 40
"""Rules with the same who and the same ends that are compared with one: of more, some that cover are not found."""


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A rule in a document. `actions` are those that it can be about, a bit for each."""

    number: int
    rule: Rule
    actions: int

    @property
    def words(self) -> frozenset[str]:
        """The terms of the condition."""
        return frozenset(term.text for term in self.rule.terms)


@dataclass(slots=True, eq=False)
class _Group:
    """Rules that differ in their conditions only, the first of each."""

    first: Entry
    by_words: dict[frozenset[str], Entry] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Shelf:
    """Groups by the literal ends of their objects' patterns, and the lengths of ends that there are."""

    groups: dict[tuple[str, str], dict[tuple[str, str], _Group]] = field(default_factory=dict)
    lengths: set[tuple[int, int]] = field(default_factory=set)


class CoverIndex:
    """The rules of one document; never changes."""

    def __init__(self, entries: Iterable[Entry], grants: Grants) -> None:
        self._grants = grants
        self._shelves: dict[tuple[Effect, str, str], _Shelf] = {}
        self._held: dict[tuple[str, str], tuple[str, ...]] = {}
        for entry in entries:
            self._add(entry)

    def covering(self, entry: Entry, effect: Effect) -> Iterator[Entry]:
        """Rules with an effect that cover this one, without itself."""
        conditions = dict.fromkeys((_NO_WORDS, entry.words))
        for object in _spellings(entry.rule):
            near = (one for one in self._groups(entry.rule, object, effect) if not entry.actions & ~one.first.actions)
            for group in islice(near, _MOST_COMPARED):
                if _covers(group.first.rule, entry.rule, object):
                    found = (group.by_words.get(condition) for condition in conditions)
                    yield from (other for other in found if other is not None and other is not entry)

    def _add(self, entry: Entry) -> None:
        rule = entry.rule
        shelf = self._shelves.setdefault((rule.effect, rule.who, rule.tenant), _Shelf())
        head, tail = _literal_ends(rule.object)
        shelf.lengths.add((len(head), len(tail)))
        groups = shelf.groups.setdefault((head, tail), {})
        groups.setdefault((rule.object, rule.action), _Group(entry)).by_words.setdefault(entry.words, entry)

    def _groups(self, rule: Rule, object: str, effect: Effect) -> Iterator[_Group]:
        head, tail = _literal_ends(object)
        for who in self._whose_rules_hold(rule.who, rule.tenant):
            for tenant in dict.fromkeys((rule.tenant, EVERYWHERE)):
                shelf = self._shelves.get((effect, who, tenant))
                if shelf is not None:
                    same = shelf.groups.get((head, tail), {}).get((object, rule.action))
                    yield from (() if same is None else (same,))
                    yield from _reaching(shelf, head, tail)

    def _whose_rules_hold(self, who: str, tenant: str) -> tuple[str, ...]:
        """Whose rules hold for everybody for whom this one's do."""
        known = self._held.get((who, tenant))
        if known is None:
            kind, _, name = who.partition(":")
            caller = Caller(name if kind == "principal" else "", "", name if kind == "role" else "")
            known = self._held[who, tenant] = (ANY,) if who == ANY else self._grants.held(caller, tenant)
        return known


def same_reach(one: Entry, other: Entry) -> bool:
    """Whether two rules, of which the first covers the second, are about the same."""
    alike = (one.rule.who, one.rule.tenant, one.words) == (other.rule.who, other.rule.tenant, other.words)
    return alike and any(_covers(other.rule, one.rule, object) for object in _spellings(one.rule))


def _spellings(rule: Rule) -> Iterable[str]:
    """The object, and what else means the same in a rule for one principal: its name is `$self`."""
    kind, _, name = rule.who.partition(":")
    if kind != "principal":
        return (rule.object,)
    segments = [SELF if segment == name else segment for segment in rule.object.split("/")]
    return dict.fromkeys((rule.object, "/".join(segments), rule.object.replace(SELF, name)))


def _literal_ends(pattern: str) -> tuple[str, str]:
    """What every name that fits begins and ends with; the caller's own words are signs of their own."""
    pattern = own_words(pattern, "\2", "\3")
    return pattern.partition("*")[0], pattern.rpartition("*")[2]


def _reaching(shelf: _Shelf, head: str, tail: str) -> Iterator[_Group]:
    """Groups whose ends are shorter or the same: no others cover."""
    for before, after in shelf.lengths:
        if before <= len(head) and after <= len(tail):
            yield from shelf.groups.get((head[:before], tail[len(tail) - after :]), {}).values()


def _covers(wide: Rule, narrow: Rule, object: str) -> bool:
    return covers(wide.action, narrow.action) and covers(wide.object, object)
