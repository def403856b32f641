"""The index and the grants find what Casbin finds without them, and what a policy in ten lines says; and no text is
too strange for the parser."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import product

import casbin
import pytest
from casbin.rbac.default_role_manager import DomainManager
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from llmos.kernel.core.principal import SYSTEM, Principal
from llmos.kernel.security.policy.attributes import parse_attributes
from llmos.kernel.security.policy.conditions import UNLIMITED, Attributes, Circumstances, at, holds
from llmos.kernel.security.policy.decisions import SHIPPED_MODEL, Policy, Question
from llmos.kernel.security.policy.document import BrokenPolicy, Document, Effect, Source, parse
from llmos.kernel.security.policy.patterns import covers, matches
from llmos.syscalls.abi.errors import InvalidArgument
from llmos.syscalls.abi.words import PriorityClass
from tests.property.policy_strategies import document_of, documents, questions

ANY_ATTRIBUTES = st.builds(
    Attributes,
    st.none() | st.sampled_from(PriorityClass),
    st.none() | st.integers(0, UNLIMITED),
    st.none() | st.integers(1, 10_000),
    st.none() | st.text(min_size=1),
    st.none() | st.text(min_size=1),
)


def _within(tenant: str, pattern: str) -> bool:
    return pattern in (tenant, "*")


def plain_casbin(document: Document) -> casbin.Enforcer:
    """Every rule, and Casbin's own roles in domains."""
    model = casbin.Model()
    model.load_model_from_text(SHIPPED_MODEL.read_text())
    model["p"]["p"].policy = [rule.fields() for rule in document.rules]
    model["g"]["g"].policy = [[grant.member, grant.role, grant.tenant] for grant in document.grants]
    enforcer = casbin.Enforcer(model)
    manager = DomainManager(10)
    manager.add_domain_matching_func(_within)
    enforcer.set_named_role_manager("g", manager)
    enforcer.build_role_links()
    for name, function in (("matches", matches), ("within", _within), ("holds", holds)):
        enforcer.add_function(name, function)
    return enforcer


def ask_casbin(enforcer: casbin.Enforcer, question: Question) -> bool:
    who = question.principal
    role = who.role_in(question.tenant)
    allowed: bool = enforcer.enforce(
        f"principal:{who.name}",
        f"role:{role}" if role else "",
        who.tenant,
        question.tenant,
        question.object,
        question.action,
        question.circumstances,
    )
    return allowed


def reference(document: Document, question: Question) -> bool:
    """The whole meaning of a policy."""
    who, tenant = question.principal, question.tenant
    held = {"any", f"principal:{who.name}", f"role:{who.role}" if who.tenant in (tenant, SYSTEM) else "any"}
    for _ in document.grants:
        held |= {grant.role for grant in document.grants if grant.member in held and grant.tenant in (tenant, "*")}
    effects = {
        rule.effect
        for rule in document.rules
        if rule.who in held
        and rule.tenant in (tenant, "*")
        and all(
            matches(name, pattern, f"principal:{who.name}", who.tenant)
            for name, pattern in ((question.object, rule.object), (question.action, rule.action))
        )
        and holds(question.circumstances, rule.condition, rule.effect)
    }
    return effects == {Effect.ALLOW}


@settings(max_examples=200)
@given(document=documents(), asked=st.lists(questions(), min_size=1, max_size=8))
def test_the_index_answers_as_casbin_does_over_all_rules_and_as_ten_lines_do(
    document: Document, asked: list[Question]
) -> None:
    policy, casbin_alone = Policy(document), plain_casbin(document)
    for question in asked:
        answer = policy.decide(question)
        assert answer.allowed == ask_casbin(casbin_alone, question) == reference(document, question)
        _check_the_rule(policy, question, answer.allowed)


def _check_the_rule(policy: Policy, question: Question, allowed: bool) -> None:
    """The rule that is named is one that fits and has this effect; without one, nothing that fits says anything."""
    rule = policy.decide(question).rule
    deciding = [found.rule for found in policy.considered(question) if found.unmet is None]
    if rule is None:
        assert not allowed
        assert deciding == []
    else:
        assert rule in deciding
        assert (rule.effect is Effect.ALLOW) is allowed


@given(document=documents(), question=questions())
def test_a_role_that_may_is_one_that_allows(document: Document, question: Question) -> None:
    policy, who = Policy(document), question.principal
    roles = policy.roles_that_may(question)
    for role in document.roles():
        there = Principal(who.name, role, SYSTEM, who.kind)
        asked = Question(there, question.tenant, question.object, question.action, question.circumstances)
        if who.tenant == SYSTEM:
            assert (role in roles) is policy.decide(asked).allowed


@given(document=documents(), question=questions(), later=st.integers(0, 7 * 1440))
def test_answers_change_by_themselves_only_with_the_slot(document: Document, question: Question, later: int) -> None:
    policy, monday = Policy(document), datetime(2026, 11, 23)
    other = monday + timedelta(minutes=later)
    assume(policy.slot(monday) == policy.slot(other))
    answers = {
        policy.decide(
            Question(
                question.principal,
                question.tenant,
                question.object,
                question.action,
                Circumstances(question.circumstances.attributes, question.principal.kind, *at(moment)),
            )
        )
        for moment in (monday, other)
    }
    assert len(answers) == 1


PIECES = st.lists(st.sampled_from(("a", "b", "/", "*", "**", "$self", "$tenant")), max_size=5).map("".join)
SHORT_NAMES = ["".join(signs) for length in range(5) for signs in product("ab/", repeat=length)]
CALLERS = [(subject, home) for subject in ("a", "b", "ab") for home in ("a", "bb")]


@given(wide=PIECES, narrow=PIECES)
@example(wide="*a", narrow="$self")
@example(wide="$*", narrow="$self")
@example(wide="*/*", narrow="**")
def test_what_a_pattern_covers_fits_it(wide: str, narrow: str) -> None:
    if covers(wide, narrow):
        for name, (subject, home) in product(SHORT_NAMES, CALLERS):
            fits = matches(name, narrow, f"principal:{subject}", home)
            assert not fits or matches(name, wide, f"principal:{subject}", home), (name, subject, home)


@given(narrow=PIECES)
def test_everything_and_itself_cover_a_pattern(narrow: str) -> None:
    assert covers("**", narrow)
    assert covers(narrow, narrow)


WORDS = st.sampled_from(
    ("p", "g", "any", "role:a", "role:b", "*", "**", "allow", "deny", "class<=normal", "#", ",", "\n")
)


@given(text=st.text() | st.lists(WORDS | st.text(max_size=3), max_size=40).map(",".join))
@example(text="p, any, *, **, **, allow, weight<=٣")
@example(text="p, any, *, **, **, allow, time=24:01-25:00")
def test_any_text_is_a_policy_or_is_refused(text: str) -> None:
    with suppress(BrokenPolicy):
        Policy(document_of(text))


@given(attributes=ANY_ATTRIBUTES)
@example(attributes=Attributes(model="null"))
@example(attributes=Attributes(model="small role=admin"))
def test_attributes_are_read_as_they_were_written(attributes: Attributes) -> None:
    assert parse_attributes(attributes.text()) == attributes


@given(text=st.text())
@example(text="context=" + "9" * 5000)
@example(text="weight=-1 weight=1.5")
@example(text="model=%ff")
def test_any_text_is_attributes_or_is_refused(text: str) -> None:
    with suppress(InvalidArgument):
        parse_attributes(text)


@pytest.mark.parametrize("granted", [False, True], ids=["by key", "by grant"])
def test_the_time_of_a_decision_does_not_grow_with_the_policy(granted: bool) -> None:
    few, many = _policy_of(10, granted), _policy_of(10_000, granted)
    _seconds(few, granted), _seconds(many, granted)
    ratios = [_seconds(many, granted) / _seconds(few, granted) for _ in range(5)]
    assert min(ratios) <= 3, ratios


def _policy_of(rules: int, granted: bool) -> Policy:
    lines = [f"p, role:r{number}, *, proc:/$self/*, proc.info, allow" for number in range(rules)]
    lines += [f"g, principal:p{number}, role:r{number}, acme" for number in range(rules if granted else 0)]
    return Policy(parse([Source("own.csv", "\n".join(lines))]))


def _seconds(policy: Policy, granted: bool) -> float:
    """Best of some: the machine may be doing other things."""
    asked = [_question(number, granted) for number in range(10)]
    return min(_once(policy, asked) for _ in range(5))


def _once(policy: Policy, asked: Sequence[Question]) -> float:
    start = time.perf_counter()
    assert all(policy.decide(question).allowed for question in asked)
    return time.perf_counter() - start


def _question(number: int, granted: bool) -> Question:
    who = Principal(f"p{number}", "nothing" if granted else f"r{number}", "acme")
    return Question(who, "acme", f"proc:/p{number}/7", "proc.info")
