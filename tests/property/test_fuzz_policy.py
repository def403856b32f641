"""Whatever a policy author writes is refused with reasons, or decides: files of rules and of cases, and patterns."""

from __future__ import annotations

import re
import time
from functools import cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmos.kernel.core.principal import SYSTEM, Principal
from llmos.kernel.security.policy.cases import load_cases, run_cases
from llmos.kernel.security.policy.decisions import SHIPPED_ROLES, Policy, Question
from llmos.kernel.security.policy.document import Effect, Source, parse, read_sources
from llmos.kernel.security.policy.patterns import matches
from llmos.syscalls.abi.errors import InvalidArgument
from tests.property.mutations import damaged_text

QUESTIONS = [
    Question(Principal(name, role, tenant), where, object, action)
    for name, role, tenant in (("bob", "developer", "acme"), ("a" * 64, "admin", SYSTEM), ("eve", "nothing", "beta"))
    for where, object, action in (
        ("acme", "proc:/bob/12", "proc.spawn"),
        (SYSTEM, "sys:/", "sys.info"),
        ("beta", f"key:/beta/{'a' * 64}", "sec.key_list"),
    )
]
ROLES = SHIPPED_ROLES.read_text(encoding="utf-8")
LINES = st.lists(st.sampled_from([line for line in ROLES.splitlines() if line.startswith(("p", "g"))]), max_size=12)
CASES = """
principals:
  bob: {role: developer, tenant: acme}
cases:
  - {who: bob, action: proc.spawn, object: 'proc:/bob/*', attributes: class=batch context=9, expect: allow}
  - {who: {name: eve, role: app, kind: app}, action: ctx.read, object: proc:/bob/1, at: 2026-11-24 09:30, expect: deny}
"""
FLOWS = st.recursive(
    st.sampled_from(
        ("who", "bob", "cases", "", "~", "08:30", "1e9", "0b_", '"\\ud800"', "&a 1", "*a", "!!int 1", "<<")
    ),
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda parts: f"[{', '.join(parts)}]")
        | st.dictionaries(inner, inner, max_size=4).map(
            lambda parts: "{" + ", ".join(f"{key}: {value}" for key, value in parts.items()) + "}"
        )
    ),
    max_leaves=8,
)


@settings(max_examples=200)
@given(text=st.text() | damaged_text(st.just(ROLES), ",") | damaged_text(LINES.map("\n".join), ","))
@example(text="p, any, *, " + "*a" * 200 + "*b, **, allow")
@example(text="p, any, *, " + "**a*a" * 80 + "*b, **, allow")
def test_a_file_of_rules_is_refused_or_decides(text: str) -> None:
    try:
        policy = Policy(parse([Source("own.csv", text)]))
    except InvalidArgument:
        return
    for question in QUESTIONS:
        decision = policy.decide(question)
        assert decision == policy.decide(question)
        assert not decision.allowed or (decision.rule is not None and decision.rule.effect is Effect.ALLOW)


@settings(max_examples=300)
@given(text=st.text() | damaged_text(st.just(CASES), " ") | damaged_text(st.just(CASES), "'") | FLOWS)
@example(text='cases: ["\\UFFFFFFFF"]')
@example(text='"\\ud800": 1')
@example(text='cases: [{who: a, role: r, kind: "\\ud800", action: b, object: c, expect: deny}]')
@example(text="cases: [1" + ":0" * 190 + ".0]")
def test_a_file_of_cases_is_refused_or_asks(text: str) -> None:
    try:
        cases = load_cases(text)
    except InvalidArgument as error:
        error.message.encode()
        return
    for outcome in run_cases(shipped(), cases):
        assert outcome.explanation


def test_a_number_to_the_base_of_60_is_a_word_however_long() -> None:
    began = time.process_time()
    with pytest.raises(InvalidArgument, match="got `str`"):
        load_cases("cases: [1" + ":0" * 500_000 + "]")
    assert time.process_time() - began < 10


PATTERN = st.text("ab/*", max_size=14)
NAME = st.text("ab/", max_size=14)


@settings(max_examples=1000)
@given(name=NAME, pattern=PATTERN)
@example(name="ab/ab", pattern="**a*b")
@example(name="aa/a/ab", pattern="**a*a/**a*b")
def test_wildcards_fit_what_trying_every_way_says(name: str, pattern: str) -> None:
    assert matches(name, pattern, "", "") == fits(name, pattern)


def fits(name: str, pattern: str) -> bool:
    """The meaning of a pattern, one sign after the other."""

    @cache
    def at(place: int, sign: int) -> bool:
        if sign == len(pattern):
            return place == len(name)
        wild = re.compile(r"\*\*?").match(pattern, sign)
        if wild is None:
            return name[place : place + 1] == pattern[sign] and at(place + 1, sign + 1)
        goes_on = place < len(name) and (wild[0] == "**" or name[place] != "/")
        return at(place, wild.end()) or (goes_on and at(place + 1, sign))

    return at(0, 0)


def test_a_pattern_of_many_wildcards_takes_no_long_time() -> None:
    began = time.process_time()
    for pattern in ("*a" * 255 + "b", "**a" * 170 + "b", "**a*a" * 100 + "*b", "**a*a/" * 80 + "*b"):
        assert not matches("proc:/" + "a" * 64 + "/12" * 20, pattern, "principal:a", "t")
    assert time.process_time() - began < 1


@cache
def shipped() -> Policy:
    """The policy that cases are asked of."""
    return Policy(parse(read_sources(SHIPPED_ROLES)))
