"""What there is to write rules about: the actions, the objects that each can be about, and what each call carries.

Made from the table of calls, and `ctx.share`, which the kernel asks about itself. It does not know rules or callers.
Rule: what it says cannot be is surely never asked about; an action that it does not know can be about anything and
carry anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, assert_never

from llmos.kernel.core.principal import SYSTEM
from llmos.kernel.core.sharing import Breadth
from llmos.kernel.security.policy.document import EVERYWHERE
from llmos.kernel.security.policy.patterns import OWN_TENANT, SELF, matches
from llmos.syscalls.abi.messages import Nothing
from llmos.syscalls.abi.table import BY_NAME, Subject

SHARE: Final = "ctx.share"

ACTIONS: Final = (*BY_NAME, SHARE)
"""Everything that a policy is asked about."""

KINDS: Final = ("proc", "model", "mem", "fs", "topic", "tool", "app", "sys", "key", "policy", "audit", "share")
"""What stands before `:/` in the name of an object."""

AMBIENT: Final = frozenset({"kind", "time", "day"})
"""What every call carries."""

_CARRIED: Final = {
    "proc.spawn": frozenset({"class", "context", "weight", "model"}),
    "proc.renice": frozenset({"class", "weight"}),
    "proc.limits": frozenset({"context"}),
    "gen.embed": frozenset({"class"}),
    "gen.classify": frozenset({"class"}),
    "sec.key_create": frozenset({"role"}),
}
_ALWAYS_WHOLE: Final = frozenset({"proc.spawn", "gen.embed", "gen.classify", "sec.key_create"})
_SHARES: Final = tuple(f"share:/{breadth.value}" for breadth in Breadth if breadth is not Breadth.PRIVATE)
_SIGNS = re.compile(r"[A-Za-z0-9._@:/*?-]*")
"""What names of objects, and patterns of them, are made of."""


def carried(action: str) -> frozenset[str]:
    """What conditions can ask about in a call."""
    if action not in ACTIONS:
        return AMBIENT.union(*_CARRIED.values())
    return AMBIENT | _CARRIED.get(action, frozenset())


def surely_carried(action: str) -> frozenset[str]:
    """What every such call carries, whether or not its caller names it."""
    return AMBIENT | (_CARRIED[action] if action in _ALWAYS_WHOLE else frozenset())


@lru_cache(maxsize=8192)
def shapes(action: str, tenant: str = EVERYWHERE) -> tuple[str, ...]:
    """Patterns that the objects of an action in a tenant fit, every one of them; none where it has no objects."""
    if action == SHARE:
        return _SHARES
    call = BY_NAME.get(action)
    if call is None:
        return ("**",)
    above = tenant in (SYSTEM, EVERYWHERE)
    match call.subject:
        case Subject.PROCESS | Subject.OWN | Subject.MAILBOX:
            return ("proc:/*/*",)
        case Subject.MEMORY:
            return ("mem:/*/*",)
        case Subject.FILE | Subject.DESCRIPTOR:
            return ("fs:/home/*/**",)
        case Subject.TOPIC:
            return ("topic:/*/*",)
        case Subject.TOOL | Subject.TOOLS:
            return ("tool:/*/*",)
        case Subject.MODEL:
            return ("model:/*",)
        case Subject.APP | Subject.NEW_APP | Subject.APPS:
            return ("app:/*",)
        case Subject.SELF | Subject.KEY | Subject.KEYS:
            return (f"key:/{tenant}/*",)
        case Subject.AUDIT if call.request is Nothing:
            # Without a request that could name a tenant, it is the whole log.
            return (f"audit:/{SYSTEM}",) if above else ()
        case Subject.AUDIT:
            return (f"audit:/{tenant}",)
        case Subject.SYSTEM:
            return ("sys:/",) if above else ()
        case Subject.POLICY:
            return ("policy:/",) if above else ()
        case Subject.SERVER_KEY:
            return (f"key:/{SYSTEM}/server",) if above else ()
        case _:
            assert_never(call.subject)


def can_be_about(action: str, object: str, tenant: str = EVERYWHERE) -> bool:
    """Whether an object that fits the pattern may be asked about with this action, in this tenant."""
    return _is_like(general(object), shapes(action, tenant))


def general(object: str) -> str:
    """The pattern with any name in place of the caller's own words."""
    return object.replace(SELF, "*").replace(OWN_TENANT, "*")


@lru_cache(maxsize=8192)
def meet(one: str, other: str) -> bool:
    """Whether some name fits both patterns, which hold no `$self` or `$tenant`."""
    if "*" not in one:
        return matches(one, other, "", "")
    if "*" not in other:
        return matches(other, one, "", "")
    heads, tails = (one.partition("*")[0], other.partition("*")[0]), (one.rpartition("*")[2], other.rpartition("*")[2])
    agree = heads[0].startswith(heads[1]) or heads[1].startswith(heads[0])
    return agree and (tails[0].endswith(tails[1]) or tails[1].endswith(tails[0])) and _meet(one, other)


@lru_cache(maxsize=8192)
def _is_like(object: str, shapes: tuple[str, ...]) -> bool:
    return bool(_SIGNS.fullmatch(object)) and any(meet(object, shape) for shape in shapes)


def _meet(one: str, other: str) -> bool:
    """Walk both at once. Of two wildcards one may stand for nothing: what both take can be left out of the name."""
    first, second = _signs(one), _signs(other)
    seen, waiting = {(0, 0)}, [(0, 0)]
    while waiting:
        here = waiting.pop()
        if here == (len(first), len(second)):
            return True
        new = set(_steps(first, second, *here)) - seen
        seen |= new
        waiting += new
    return False


def _steps(first: list[str], second: list[str], i: int, j: int) -> Iterator[tuple[int, int]]:
    left = first[i] if i < len(first) else ""
    right = second[j] if j < len(second) else ""
    if left and left == right:
        yield i + 1, j + 1
    if left.startswith("*"):
        yield i + 1, j
    if right.startswith("*"):
        yield i, j + 1
    if _takes(left, right):
        yield i, j + 1
    if _takes(right, left):
        yield i + 1, j


def _takes(wildcard: str, sign: str) -> bool:
    return bool(sign) and (wildcard == "**" or (wildcard == "*" and sign != "/"))


def _signs(pattern: str) -> list[str]:
    return re.findall(r"\*\*|.", pattern, re.DOTALL)
