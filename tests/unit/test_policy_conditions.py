"""Conditions: what they may say, what they hold for, and when their answers change."""

from __future__ import annotations

from datetime import datetime

import pytest

from llmos.kernel.security.policy.attributes import parse_attributes
from llmos.kernel.security.policy.conditions import (
    NOTHING,
    UNLIMITED,
    Attributes,
    BadCondition,
    Circumstances,
    at,
    boundaries,
    holds,
    parse_condition,
    unmet,
)
from llmos.syscalls.abi.errors import InvalidArgument
from llmos.syscalls.abi.words import KeyKind, PriorityClass

MONDAY = datetime(2026, 11, 23)


def asking(attributes: str, kind: KeyKind = KeyKind.USER) -> Circumstances:
    return Circumstances(parse_attributes(attributes), kind)


def when(day: int, hour: int, minute: int = 0) -> Circumstances:
    """Some time in the week that begins on a Monday, day 0."""
    return Circumstances(NOTHING, KeyKind.USER, *at(MONDAY.replace(day=23 + day, hour=hour, minute=minute)))


@pytest.mark.parametrize(
    ("condition", "attributes", "expected"),
    [
        ("class<=normal", "class=batch", True),
        ("class<=normal", "class=normal", True),
        ("class<=normal", "class=interactive", False),
        ("class>normal", "class=realtime", True),
        ("class=idle", "class=idle", True),
        ("class!=realtime", "class=realtime", False),
        ("context<=4096", "context=4096", True),
        ("context<4096", "context=4096", False),
        ("context<=4096", f"context={UNLIMITED}", False),
        ("weight>=10", "weight=9", False),
        ("weight=10", "weight=10", True),
        ("model=qwen*|small", "model=qwen-3", True),
        ("model=qwen*|small", "model=small", True),
        ("model=qwen*", "model=hub/qwen", False),
        ("model=**qwen", "model=hub/qwen", True),
        ("model!=qwen*|small", "model=small", False),
        ("model!=qwen*|small", "model=large", True),
        ("role=app|viewer", "role=admin", False),
        ("class<=normal context<=10", "class=idle context=11", False),
        ("class<=normal context<=10", "class=idle context=10", True),
        ("", "class=idle", True),
    ],
)
@pytest.mark.parametrize("effect", ["allow", "deny"])
def test_terms_bound_what_a_call_asks_for(condition: str, attributes: str, expected: bool, effect: str) -> None:
    assert holds(asking(attributes), condition, effect) is expected


@pytest.mark.parametrize("condition", ["class<=idle", "context<=0", "weight>10", "model=x", "role!=admin"])
def test_what_a_call_does_not_carry_counts_for_an_allow_and_not_for_a_deny(condition: str) -> None:
    assert holds(Circumstances(), condition, "allow")
    assert not holds(Circumstances(), condition, "deny")


def test_the_kind_of_a_key_is_always_there() -> None:
    assert holds(asking("", KeyKind.APP), "kind=app|service", "deny")
    assert not holds(asking("", KeyKind.USER), "kind=app|service", "allow")
    assert holds(asking("", KeyKind.USER), "kind!=app", "deny")


@pytest.mark.parametrize(
    ("condition", "day", "hour", "expected"),
    [
        ("time=08:00-18:00", 0, 8, True),
        ("time=08:00-18:00", 0, 18, False),
        ("time=22:00-06:00", 0, 23, True),
        ("time=22:00-06:00", 0, 5, True),
        ("time=22:00-06:00", 0, 6, False),
        ("time=12:00-24:00", 0, 23, True),
        ("day=mon-fri", 4, 1, True),
        ("day=mon-fri", 5, 1, False),
        ("day=sat|sun", 6, 1, True),
        ("day=fri-mon", 0, 1, True),
        ("day=fri-mon", 1, 1, False),
        ("day=wed", 2, 1, True),
        ("day=mon time=09:00-10:00", 0, 9, True),
        ("day=mon time=09:00-10:00", 1, 9, False),
    ],
)
def test_terms_bound_when_a_call_is_made(condition: str, day: int, hour: int, expected: bool) -> None:
    assert holds(when(day, hour), condition, "allow") is expected
    assert holds(when(day, hour), condition, "deny") is expected


@pytest.mark.parametrize(
    "text",
    [
        *("class", "class<=", "<=normal", "class<=urgent", "class=a|b", "context<=1.5", "context<=-1", "context<=٣"),
        *(
            "weight<=1000000000000000000",
            "model<=a",
            "model=",
            "model=a||b",
            "kind<app",
            "colour=red",
            "class <= normal",
        ),
        *(
            "time=8:00-18:00",
            "time=08:00",
            "time=08:00-08:00",
            "time=08:00-24:01",
            "time!=08:00-09:00",
            "time=25:00-26:00",
        ),
        *("day=monday", "day!=mon", "day=mon-", "day=", "day=mon-fri-sun", "CLASS<=normal", "class<=normal,context<=3"),
    ],
)
def test_what_is_no_condition_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(BadCondition, match=r"\S+"):
        parse_condition(text)


def test_every_context_that_a_call_can_ask_for_can_be_a_bound() -> None:
    assert holds(asking(f"context={UNLIMITED}"), f"context<={UNLIMITED}", "allow")
    assert not holds(asking(f"context={UNLIMITED}"), f"context<={UNLIMITED - 1}", "allow")


def test_the_first_term_that_does_not_hold_is_named() -> None:
    terms = parse_condition("class<=normal context<=10 weight<=5")
    found = unmet(terms, asking("class=idle context=11 weight=6"), absent=True)
    assert found is not None
    assert found.text == "context<=10"


def test_answers_can_change_at_the_ends_of_times_and_at_midnight() -> None:
    assert boundaries(parse_condition("time=08:00-18:00")) == {480, 1080}
    assert boundaries(parse_condition("time=12:00-24:00")) == {720, 0}
    assert boundaries(parse_condition("day=mon")) == {0}
    assert boundaries(parse_condition("class<=normal model=a kind=app")) == frozenset()


def test_attributes_are_read_from_words() -> None:
    assert parse_attributes("") is NOTHING
    full = Attributes(PriorityClass.BATCH, 4096, 7, "hub/qwen", "app")
    assert parse_attributes("class=batch context=4096 weight=7 model=hub/qwen role=app") == full
    assert full.text() == "class=batch context=4096 weight=7 model=hub/qwen role=app"


def test_a_word_with_spaces_cannot_pass_for_other_attributes() -> None:
    odd = Attributes(model="small role=admin class=idle")
    assert odd.text() == "model=small%20role=admin%20class=idle"
    assert parse_attributes(odd.text()) == odd


@pytest.mark.parametrize(
    "text", ["class", "class=", "class=urgent", "size=3", "context=many", "weight=", "=3", "kind=app"]
)
def test_what_is_no_attribute_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="attribute"):
        parse_attributes(text)
