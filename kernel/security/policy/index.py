"""Finds the few rules that fit a question among many: by who and tenant, then along the segments of the object's name.

It decides nothing: Casbin evaluates what is found here. Rules: what is found is exactly the rules whose who, tenant,
object and action fit, in the order of the files; conditions are not looked at. The time does not depend on how many
other rules there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from llmos.kernel.security.policy.document import EVERYWHERE, Rule
from llmos.kernel.security.policy.grants import Caller, Grants
from llmos.kernel.security.policy.patterns import OWN_TENANT, SELF, matches, own_words


@dataclass(slots=True, eq=False)
class _Node:
    """Rules whose object's literal beginning ends here, and the next segments of longer ones."""

    rules: list[tuple[int, Rule]] = field(default_factory=list)
    children: dict[str, _Node] = field(default_factory=dict)


class RuleIndex:
    """All rules of one document; never changes."""

    def __init__(self, rules: Iterable[Rule], grants: Grants) -> None:
        self._grants = grants
        self._roots: dict[tuple[str, str], _Node] = {}
        for number, rule in enumerate(rules):
            self._add(number, rule)

    def find(self, caller: Caller, tenant: str, object: str, action: str) -> list[Rule]:
        """The rules that fit, in their order."""
        found: dict[int, Rule] = {}
        for who in self._grants.held(caller, tenant):
            for place in (tenant, EVERYWHERE):
                root = self._roots.get((who, place))
                if root is not None:
                    found |= self._fitting(root, caller, object, action)
        return [found[number] for number in sorted(found)]

    def _add(self, number: int, rule: Rule) -> None:
        node = self._roots.setdefault((rule.who, rule.tenant), _Node())
        for segment in _literal_segments(rule.object):
            node = node.children.setdefault(segment, _Node())
        node.rules.append((number, rule))

    def _fitting(self, root: _Node, caller: Caller, object: str, action: str) -> dict[int, Rule]:
        return {
            number: rule
            for node in _along(root, object.split("/"), caller)
            for number, rule in node.rules
            if matches(action, rule.action, caller.subject, caller.home)
            and matches(object, rule.object, caller.subject, caller.home)
        }


def _literal_segments(pattern: str) -> Iterator[str]:
    """The leading segments without wildcards; `$self` and `$tenant` count when they are the whole segment."""
    for segment in pattern.split("/"):
        if "*" in segment or ("$" in segment and segment not in (SELF, OWN_TENANT)):
            return
        yield segment


def _along(root: _Node, segments: list[str], caller: Caller) -> Iterator[_Node]:
    """All nodes that lie on the way of a name."""
    level = [root]
    yield root
    for segment in segments:
        own = [word for word in (SELF, OWN_TENANT) if own_words(word, caller.name, caller.home) == segment]
        level = [node.children[word] for node in level for word in (segment, *own) if word in node.children]
        if not level:
            return
        yield from level
