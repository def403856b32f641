"""Why a rule can never decide anything: its action, its object, its tenant or its condition fits no call.

It knows one rule at a time. Rule: a reason that it gives is sure, under the model that llmos comes with.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import lru_cache

from llmos.kernel.security.policy.conditions import Term
from llmos.kernel.security.policy.contradictions import contradiction, subject
from llmos.kernel.security.policy.document import EVERYWHERE, Effect, Rule
from llmos.kernel.security.policy.patterns import OWN_TENANT, SELF, matches
from llmos.kernel.security.policy.vocabulary import (
    KINDS,
    can_be_about,
    carried,
    general,
    meet,
    shapes,
    surely_carried,
)

_EITHER: dict[int, tuple[str, ...]] = {0: (SELF, OWN_TENANT)}
_OWN_PLACES: dict[str, dict[int, tuple[str, ...]]] = {
    "proc": {0: (SELF,)},
    "fs": {1: (SELF,)},
    "key": {0: (OWN_TENANT,), 1: (SELF,)},
    "audit": {0: (OWN_TENANT,)},
    "mem": _EITHER,
    "topic": _EITHER,
    "tool": _EITHER,
}
"""Which of the caller's own words can stand in which segment of an object's name, after its kind."""


def fruitless(rule: Rule, actions: tuple[str, ...]) -> str:
    """Why the rule never decides; empty when it may."""
    named = _named(rule.action, actions)
    if not named:
        return _no_such_action(rule.action, actions)
    if reason := _misplaced(rule.object):
        return reason
    fitting = [action for action in named if can_be_about(action, rule.object, rule.tenant)]
    return _no_such_object(rule, named) if not fitting else _no_such_call(rule, fitting)


def fitting_actions(rule: Rule, actions: tuple[str, ...]) -> int:
    """The actions that the rule can be about, a bit for each."""
    named = _named(rule.action, actions)
    return sum(1 << actions.index(action) for action in named if can_be_about(action, rule.object, rule.tenant))


def unheard(rule: Rule, actions: tuple[str, ...]) -> Term | None:
    """A term about something that none of the rule's calls carries."""
    heard = frozenset[str]().union(*(carried(action) for action in _named(rule.action, actions)))
    return next((term for term in rule.terms if heard and subject(term) not in heard), None)


@lru_cache(maxsize=4096)
def _named(pattern: str, actions: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(action for action in actions if "$" not in pattern and matches(action, pattern, "", ""))


@lru_cache(maxsize=4096)
def _no_such_action(pattern: str, actions: tuple[str, ...]) -> str:
    if "$" in pattern:
        return f"the action {pattern!r}: {SELF} and {OWN_TENANT} are words of objects"
    close = get_close_matches(pattern, actions, 1)
    return f"no call has the action {pattern!r}" + (f"; is {close[0]} meant?" if close else "")


def _misplaced(object: str) -> str:
    """The caller's own words in a segment that never holds them; nothing is said of what follows a `**`."""
    kind, _, rest = object.partition(":/")
    for number, segment in enumerate(rest.split("/") if kind in KINDS else ()):
        if "**" in segment:
            break
        for word in (SELF, OWN_TENANT):
            if word in segment and word not in _OWN_PLACES.get(kind, {}).get(number, ()):
                return f"{word} is misplaced in {object!r}: {kind}:/ never has it there"
    return ""


def _no_such_object(rule: Rule, named: tuple[str, ...]) -> str:
    if any(can_be_about(action, rule.object) for action in named):
        return f"no object that fits {rule.object!r} is of the tenant {rule.tenant!r}"
    if not any(meet(general(rule.object), f"{kind}:/**") for kind in KINDS):
        return f"no object is named like {rule.object!r}; names begin with {' '.join(f'{kind}:/' for kind in KINDS)}"
    known = dict.fromkeys(shape for action in named for shape in shapes(action, EVERYWHERE))
    return f"{rule.action} is about {' or '.join(known)}, never about {rule.object!r}"


def _no_such_call(rule: Rule, fitting: list[str]) -> str:
    if (terms := contradiction(rule.terms)) and not _lets_others_pass(rule, subject(terms[0]), fitting):
        return f"nothing meets {' and '.join(term.text for term in terms)}"
    wanted = {subject(term) for term in rule.terms}
    if rule.effect is Effect.DENY and not any(wanted <= carried(action) for action in fitting):
        return f"no call that this denies carries {' and '.join(sorted(wanted))}, so that the condition never holds"
    return ""


def _lets_others_pass(rule: Rule, what: str, fitting: list[str]) -> bool:
    """Whether calls that do not carry it are allowed all the same."""
    return rule.effect is Effect.ALLOW and not all(what in surely_carried(action) for action in fitting)
