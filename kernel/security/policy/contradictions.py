"""Conditions that nothing can meet, such as `class<=batch class>=normal`.

It does not know rules. Rule: what it names contradictory surely is; what it does not name may still be, where models or
roles are patterns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from llmos.kernel.security.policy.conditions import (
    Attributes,
    Between,
    Bound,
    Circumstances,
    OnDays,
    OneOf,
    Term,
    unmet,
)
from llmos.kernel.security.policy.patterns import is_literal
from llmos.syscalls.abi.words import KeyKind, PriorityClass

_MINUTES = 1440


def contradiction(terms: Sequence[Term]) -> tuple[Term, ...]:
    """Terms about one thing that nothing meets all of; empty when there are none such."""
    by_subject: dict[str, list[Term]] = {}
    for term in terms:
        by_subject.setdefault(subject(term), []).append(term)
    return next((tuple(some) for name, some in by_subject.items() if not _possible(name, some)), ())


def subject(term: Term) -> str:
    """What a term asks about."""
    match term:
        case Bound(name=name) | OneOf(name=name):
            return name
        case Between():
            return "time"
        case OnDays():
            return "day"
        case _:
            assert_never(term)


def _possible(name: str, terms: list[Term]) -> bool:
    candidates = _candidates(name, terms)
    return not candidates or any(unmet(tuple(terms), one, absent=False) is None for one in candidates)


def _candidates(name: str, terms: list[Term]) -> list[Circumstances]:
    """Circumstances of which one meets the terms if any do; none where that is not worth asking or cannot be told."""
    match name:
        case "class":
            return [Circumstances(Attributes(priority=one)) for one in PriorityClass]
        case "context":
            return [Circumstances(Attributes(context=one)) for one in _edges(0, terms)]
        case "weight":
            return [Circumstances(Attributes(weight=one)) for one in _edges(1, terms)]
        case "kind":
            return [Circumstances(kind=one) for one in KeyKind]
        case "time":
            # Where intervals meet, one of them begins.
            return [Circumstances(minute=term.start % _MINUTES) for term in terms if isinstance(term, Between)]
        case "day":
            return [Circumstances(weekday=one) for one in range(7)]
        case "model":
            return [Circumstances(Attributes(model=word)) for word in _words(terms)]
        case _:
            return [Circumstances(Attributes(role=word)) for word in _words(terms)]


def _edges(least: int, terms: list[Term]) -> set[int]:
    """The bounds, and beside them as many numbers as terms can take away one by one."""
    bounds = {least, *(int(term.value) for term in terms if isinstance(term, Bound))}
    return {max(least, bound + step) for bound in bounds for step in range(-len(terms), len(terms) + 1)}


def _words(terms: list[Term]) -> tuple[str, ...]:
    """The words that a term with `=` allows, if they are all literal; empty when there is no such term."""
    for term in terms:
        if isinstance(term, OneOf) and term.wanted and all(map(is_literal, term.patterns)):
            return term.patterns
    return ()
