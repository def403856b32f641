"""Conditions of rules: what a call asks for, and when, against bounds such as `class<=normal context<=4096`.

Terms are separated by spaces and all of them must hold. It does not know rules or calls. Rule: a term about something
that the call does not carry decides nothing: it holds in a rule that allows and does not in one that denies, so that
`class<=normal` bounds the calls that name a class and leaves the others alone.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import assert_never
from urllib.parse import quote

from llmos.kernel.security.policy.patterns import matches
from llmos.syscalls.abi.words import KeyKind, PriorityClass

UNLIMITED = 1 << 53
"""The context of a process without a limit of its own."""

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_ORDER = {kind.value: rank for rank, kind in enumerate(reversed(PriorityClass))}
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
    "!=": operator.ne,
}
_TERM = re.compile(r"([a-z]+)(<=|>=|!=|<|>|=)(\S+)")
_TIME = re.compile(r"([01]\d|2[0-4]):([0-5]\d)")
_WORDS = ("model", "role", "kind")
_PLAIN = "!#$&'()*+,/:;<=>?@[]^|~"
"""Signs that a word of attributes has as they are, besides letters and digits."""


class BadCondition(Exception):
    """The text is no condition; the message says why and what is allowed."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a call asks for, as far as rules may bound it; None is what it does not carry. `context` in tokens."""

    priority: PriorityClass | None = None
    context: int | None = None
    weight: int | None = None
    model: str | None = None
    role: str | None = None

    def text(self) -> str:
        """As a condition would say it, what would not be one word in percent signs; empty for none."""
        named: dict[str, object] = {
            "class": self.priority,
            "context": self.context,
            "weight": self.weight,
            "model": self.model,
            "role": self.role,
        }
        return " ".join(f"{name}={quote(str(value), _PLAIN)}" for name, value in named.items() if value is not None)


NOTHING = Attributes()


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What conditions can ask about. `minute` counts from midnight and `weekday` from Monday, by the daemon's clock."""

    attributes: Attributes = NOTHING
    kind: KeyKind = KeyKind.USER
    minute: int = 0
    weekday: int = 0


ORDINARY = Circumstances()
"""Those of a call that carries nothing to ask about."""


@dataclass(frozen=True, slots=True)
class Bound:
    """`class`, `context` or `weight` against a number; classes count from idle upwards."""

    text: str
    name: str
    sign: str
    value: float


@dataclass(frozen=True, slots=True)
class OneOf:
    """`model`, `role` or `kind` is, or with `!=` is not, one of some patterns."""

    text: str
    name: str
    wanted: bool
    patterns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Between:
    """`time`, from a minute of the day up to another; over midnight when the second is the smaller."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class OnDays:
    """`day` is one of some days of the week, Monday is 0."""

    text: str
    days: frozenset[int]


Term = Bound | OneOf | Between | OnDays


@lru_cache(maxsize=4096)
def parse_condition(text: str) -> tuple[Term, ...]:
    """The terms of a condition. Raises `BadCondition`."""
    return tuple(_term(word) for word in text.split())


def holds(circumstances: Circumstances, condition: str, effect: str) -> bool:
    """Whether all terms hold; `effect` says what a term about something that is not there does."""
    return unmet(parse_condition(condition), circumstances, absent=effect == "allow") is None


def unmet(terms: tuple[Term, ...], circumstances: Circumstances, absent: bool) -> Term | None:
    """The first term that does not hold; `absent` is what a term counts as whose subject is not there."""
    for term in terms:
        known = _holds(term, circumstances)
        if not (absent if known is None else known):
            return term
    return None


def boundaries(terms: tuple[Term, ...]) -> frozenset[int]:
    """Minutes of the day at which the answer may change by itself."""
    found: set[int] = set()
    for term in terms:
        match term:
            case Between(start=start, end=end):
                found |= {start % 1440, end % 1440}
            case OnDays():
                found.add(0)
            case Bound() | OneOf():
                pass
            case unreachable:
                assert_never(unreachable)
    return frozenset(found)


def at(moment: datetime) -> tuple[int, int]:
    """Minute of the day and day of the week."""
    return moment.hour * 60 + moment.minute, moment.weekday()


def _holds(term: Term, now: Circumstances) -> bool | None:
    match term:
        case Bound(name=name, sign=sign, value=value):
            given = _number(name, now.attributes)
            return None if given is None else _COMPARE[sign](given, value)
        case OneOf(name=name, wanted=wanted, patterns=patterns):
            word = _word(name, now)
            return None if word is None else any(matches(word, pattern, "", "") for pattern in patterns) is wanted
        case Between(start=start, end=end):
            return start <= now.minute < end if start < end else now.minute >= start or now.minute < end
        case OnDays(days=days):
            return now.weekday in days
        case _:
            assert_never(term)


def _number(name: str, attributes: Attributes) -> float | None:
    match name:
        case "class":
            return None if attributes.priority is None else _ORDER[attributes.priority.value]
        case "context":
            return attributes.context
        case _:
            return attributes.weight


def _word(name: str, now: Circumstances) -> str | None:
    match name:
        case "model":
            return now.attributes.model
        case "role":
            return now.attributes.role
        case _:
            return now.kind.value


def _term(text: str) -> Term:
    match = _TERM.fullmatch(text)
    if match is None:
        raise BadCondition(f"{text!r} is no term such as class<=normal, context<=4096, model=NAME, time=08:00-18:00")
    name, sign, value = match.groups()
    match name:
        case "class":
            return Bound(text, name, sign, _class(value))
        case "context" | "weight":
            return Bound(text, name, sign, _whole(name, value))
        case "time":
            return _between(text, sign, value)
        case "day":
            return OnDays(text, _days(sign, value))
        case _ if name in _WORDS:
            return _one_of(text, name, sign, value)
        case _:
            raise BadCondition(f"{name!r} is nothing to ask about: class context weight model role kind time day")


def _class(value: str) -> float:
    if value not in _ORDER:
        raise BadCondition(f"{value!r} is no priority class: {' '.join(_ORDER)}")
    return _ORDER[value]


def _whole(name: str, value: str) -> float:
    if not value.isdecimal() or not value.isascii() or len(value) > 16:
        raise BadCondition(f"{name} is a whole number, not {value!r}")
    return int(value)


def _one_of(text: str, name: str, sign: str, value: str) -> OneOf:
    patterns = tuple(value.split("|"))
    if sign not in ("=", "!=") or not all(patterns):
        raise BadCondition(f"{name} takes = or != and one or more patterns, as {name}=a|b*")
    return OneOf(text, name, sign == "=", patterns)


def _between(text: str, sign: str, value: str) -> Between:
    minutes = [_minute(part) for part in value.split("-")] if sign == "=" else []
    if len(minutes) != 2 or minutes[0] == minutes[1] or minutes[0] == 1440:
        raise BadCondition("time is from and to, as time=08:00-18:00 or, over midnight, time=22:00-06:00")
    return Between(text, minutes[0], minutes[1])


def _minute(text: str) -> int:
    match = _TIME.fullmatch(text)
    minute = int(match[1]) * 60 + int(match[2]) if match is not None else 1441
    if minute > 1440:
        raise BadCondition(f"{text!r} is no time of day; it goes from 00:00 to 24:00")
    return minute


def _days(sign: str, value: str) -> frozenset[int]:
    days: set[int] = set()
    for part in value.split("|") if sign == "=" else ("",):
        first, dash, last = part.partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise BadCondition("day is a day or some, as day=mon-fri or day=sat|sun")
        start, end = DAYS.index(first), DAYS.index(last or first)
        days |= {(start + step) % 7 for step in range((end - start) % 7 + 1)}
    return frozenset(days)
