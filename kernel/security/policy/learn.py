"""The least policy under which what somebody did is allowed.

Rules: no action and no kind of object that was not seen; the caller's own name becomes `$self` and its tenant
`$tenant`, so that the rules hold for others with the role; a pid becomes `*`, since none comes back; what calls asked
for bounds what they may ask for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from llmos.kernel.core.principal import Principal
from llmos.kernel.security.policy.attributes import parse_attributes
from llmos.kernel.security.policy.conditions import UNLIMITED, Attributes, parse_condition
from llmos.kernel.security.policy.document import EVERYWHERE, Effect, Place, Rule
from llmos.kernel.security.policy.patterns import OWN_TENANT, SELF
from llmos.kernel.security.policy.recorded import RecordedCall
from llmos.syscalls.abi.words import PriorityClass

_ORDER = tuple(reversed(PriorityClass))
_OWNED = ("proc", "key", "audit")
"""Kinds of objects whose names hold those of people and tenants."""

_STRANGE = re.compile(r"[^A-Za-z0-9._/:@+-]+")
"""What a word may hold that a condition cannot say."""


@dataclass(slots=True)
class _Seen:
    """What the calls of one rule asked for."""

    asked: list[Attributes] = field(default_factory=list)

    def condition(self) -> str:
        """The least condition that all of them meet."""
        classes = [one.priority for one in self.asked if one.priority is not None]
        contexts = [one.context for one in self.asked if one.context is not None]
        weights = [one.weight for one in self.asked if one.weight is not None]
        terms = [f"class<={max(classes, key=_ORDER.index).value}"] if classes else []
        terms += [f"context<={max(contexts)}"] if contexts and max(contexts) < UNLIMITED else []
        terms += [f"weight<={max(weights)}"] if weights else []
        terms += _one_of("model", [one.model for one in self.asked])
        return " ".join(terms + _one_of("role", [one.role for one in self.asked]))


def learn(calls: Iterable[RecordedCall], role: str) -> tuple[Rule, ...]:
    """Rules for a role, by object and action, from the calls that were allowed.

    Where its key gives the caller no role, as in the tenant `system`, a rule is for the caller itself.
    """
    seen: dict[tuple[str, str, str, str], _Seen] = {}
    for call in calls:
        if call.allowed:
            who = f"role:{role}" if call.principal.role_in(call.tenant) else f"principal:{call.principal.name}"
            key = (_general(call.object, call.principal), call.action, _place(call), who)
            seen.setdefault(key, _Seen()).asked.append(parse_attributes(call.attributes))
    return tuple(_rule(number, *key, seen[key].condition()) for number, key in enumerate(sorted(seen), 1))


def _rule(number: int, object: str, action: str, tenant: str, who: str, condition: str) -> Rule:
    return Rule(Place("", number), who, tenant, object, action, Effect.ALLOW, condition, parse_condition(condition))


def _general(object: str, who: Principal) -> str:
    kind, slash, rest = object.partition(":/")
    segments = rest.split("/")
    if kind == "proc" and len(segments) == 2:
        segments[1] = "*"
    own = {who.name: SELF, who.tenant: OWN_TENANT} if kind in _OWNED else {}
    return kind + slash + "/".join(own.get(segment, segment) for segment in segments)


def _place(call: RecordedCall) -> str:
    """A rule about one's own tenant holds wherever the role does; one about another's names it."""
    return EVERYWHERE if call.tenant == call.principal.tenant else call.tenant


def _one_of(name: str, words: list[str | None]) -> list[str]:
    known = sorted({_STRANGE.sub("*", word) for word in words if word is not None})
    return [f"{name}={'|'.join(known)}"] if known else []
