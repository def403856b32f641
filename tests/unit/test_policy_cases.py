"""Files of cases: what they ask, what they expect, and what is refused."""

from __future__ import annotations

import pytest

from llmos.kernel.security.policy.cases import MOST_CHARACTERS, Case, load_cases, run_cases
from llmos.kernel.security.policy.conditions import Attributes
from llmos.kernel.security.policy.decisions import SHIPPED_ROLES, Policy
from llmos.kernel.security.policy.document import Source, parse, read_sources
from llmos.syscalls.abi.errors import InvalidArgument
from llmos.syscalls.abi.words import KeyKind, PriorityClass

PEOPLE = """
principals:
  bob: {role: developer, tenant: acme}
  eve: {role: developer, tenant: beta}
  root: {role: admin, tenant: system, kind: service}
"""


def case(fields: str, people: str = PEOPLE) -> Case:
    """The one case of a file."""
    (only,) = load_cases(f"{people}\ncases:\n  - {{{fields}}}\n")
    return only


def refusal(text: str) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        load_cases(text)
    return caught.value


def shipped(own: str = "") -> Policy:
    return Policy(parse([*read_sources(SHIPPED_ROLES), Source("own.csv", own)]))


def test_a_case_says_who_asks_what_and_when() -> None:
    asked = case(
        "who: alice, role: app, tenant: acme, kind: app, action: proc.spawn, object: 'proc:/alice/*', "
        "attributes: class=batch context=4096, at: 2026-11-24 09:30, expect: allow, by: 'own.csv:3'"
    )
    who, circumstances = asked.question.principal, asked.question.circumstances
    assert (who.name, who.role, who.tenant, who.kind) == ("alice", "app", "acme", KeyKind.APP)
    assert circumstances.attributes == Attributes(PriorityClass.BATCH, 4096)
    assert (circumstances.minute, circumstances.weekday, circumstances.kind) == (570, 1, KeyKind.APP)
    assert (asked.allowed, asked.by, asked.number) == (True, "own.csv:3", 1)


def test_who_may_be_a_name_or_all_about_it() -> None:
    short = case("who: al, role: app, tenant: acme, action: sys.info, object: 'sys:/', expect: allow")
    long = case("who: {name: al, role: app, tenant: acme}, action: sys.info, object: 'sys:/', expect: allow")
    assert short == long


def test_the_section_of_principals_says_what_a_case_leaves_out() -> None:
    asked = case("who: root, action: sys.drain, object: 'sys:/', expect: allow").question.principal
    assert (asked.role, asked.tenant, asked.kind) == ("admin", "system", KeyKind.SERVICE)
    other = case("who: root, role: viewer, action: sys.drain, object: 'sys:/', expect: deny").question.principal
    assert (other.role, other.tenant) == ("viewer", "system")


@pytest.mark.parametrize(
    ("object", "tenant"),
    [
        ("proc:/eve/12", "beta"),
        ("proc:/stranger/12", "acme"),
        ("share:/tenant", "acme"),
        ("key:/beta/eve", "beta"),
        ("audit:/beta", "beta"),
        ("sys:/", "system"),
        ("policy:/", "system"),
    ],
)
def test_the_tenant_of_an_object_follows_from_its_name_and_the_people(object: str, tenant: str) -> None:
    assert case(f"who: bob, action: proc.info, object: '{object}', expect: deny").question.tenant == tenant


def test_the_tenant_of_an_object_may_be_said() -> None:
    asked = case("who: bob, action: proc.info, object: proc:/eve/1, object_tenant: acme, expect: deny")
    assert asked.question.tenant == "acme"


def test_a_person_of_another_case_is_known_too() -> None:
    first, _ = load_cases("""
cases:
  - {who: alice, role: developer, tenant: acme, action: proc.info, object: proc:/zoe/1, expect: deny}
  - {who: zoe, role: developer, tenant: beta, action: proc.info, object: proc:/zoe/1, expect: allow}
""")
    assert first.question.tenant == "beta"


def test_cases_pass_and_fail_with_the_rule_that_decided() -> None:
    text = (
        PEOPLE
        + """
cases:
  - {who: bob, action: proc.signal, object: proc:/bob/1, expect: allow}
  - {who: bob, action: proc.signal, object: proc:/eve/1, expect: deny}
  - {who: bob, action: ctx.read, object: proc:/bob/1, expect: deny, by: 'own.csv:1'}
  - {who: bob, action: ctx.read, object: proc:/bob/1, expect: deny, by: 'own.csv:2'}
  - {who: bob, action: proc.signal, object: proc:/eve/1, expect: allow}
"""
    )
    outcomes = run_cases(shipped("p, principal:bob, *, **, ctx.read, deny"), load_cases(text))
    assert [outcome.passed for outcome in outcomes] == [True, True, True, False, False]
    assert outcomes[3].explanation == (
        "denied by own.csv:1: p, principal:bob, *, **, ctx.read, deny, not denied by own.csv:2"
    )
    assert outcomes[4].explanation == "denied because no rule allows it, not allowed"


def test_a_case_is_asked_at_its_time() -> None:
    policy = shipped("p, principal:bob, *, **, **, deny, time=18:00-08:00")
    text = (
        PEOPLE
        + """
cases:
  - {who: bob, action: proc.info, object: proc:/bob/1, at: 2026-11-24 09:30, expect: allow}
  - {who: bob, action: proc.info, object: proc:/bob/1, at: 2026-11-24 18:00, expect: deny}
"""
    )
    assert all(outcome.passed for outcome in run_cases(policy, load_cases(text)))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ("who: bob, action: sys.info, object: 'sys:/'", "`expect`"),
        ("who: bob, action: sys.info, object: 'sys:/', expect: maybe", "$.expect"),
        ("who: bob, action: sys.info, object: 'sys:/', expect: allow, colour: red", "colour"),
        ("who: bob, action: 7, object: 'sys:/', expect: allow", "$.action"),
        ("who: {role: app}, action: sys.info, object: 'sys:/', expect: allow", "`name`"),
        ("who: stranger, action: sys.info, object: 'sys:/', expect: allow", "which role"),
        ("who: 'b*b', role: app, action: sys.info, object: 'sys:/', expect: allow", "no name"),
        ("who: bob, action: sys.info, object: 'sys:/', expect: allow, at: soon", "no time"),
        ("who: bob, action: sys.info, object: 'sys:/', expect: allow, attributes: size=3", "no attribute"),
        ("who: bob, action: sys.info, object: 'key:/', expect: allow", "no name for a tenant"),
    ],
)
def test_what_cannot_be_is_refused_by_the_number_and_line_of_the_case(fields: str, reason: str) -> None:
    good = "{who: bob, action: sys.info, object: 'sys:/', expect: allow}"
    error = refusal(f"principals:\n  bob: {{role: app}}\ncases:\n  - {good}\n  - {{{fields}}}\n")
    assert error.message.startswith("case 2 (line 5): ")
    assert reason in error.message
    assert error.hint


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expected `object`"),
        ("cases: 3", "$.cases"),
        ("cases: [1]", "$.cases[0]"),
        ("cases: []\nextra: 1", "extra"),
        ("principals: {bob: {age: 3}}\ncases: []", "age"),
        ("cases: []\ncases: []", "twice"),
        ("cases:\n  - {who: a, who: b}", "twice"),
        ("a: &x [1]\ncases: *x", "anchors"),
        ("cases: *x", "anchors"),
        ("cases: !!python/name:os.system", "tags"),
        ("cases: !!set {a, b}", "tags"),
        ("? [a, b]\n: c", "a key is a word"),
        ("cases: [0b_]", "invalid literal"),
        ("cases: " + "[" * 5000, "nested too deep"),
        ("cases: [", "line 1"),
        ("--- {cases: []}\n--- {cases: []}", "single document"),
        ("cases: [\x00]", "unacceptable character"),
    ],
)
def test_what_is_no_file_of_cases_is_refused(text: str, reason: str) -> None:
    assert reason in refusal(text).message


def test_a_file_that_is_too_long_is_not_read() -> None:
    assert "characters" in refusal("#" * (MOST_CHARACTERS + 1)).message


def test_an_action_that_does_not_exist_is_no_case_at_all() -> None:
    with pytest.raises(InvalidArgument, match=r"proc\.singal") as refused:
        load_cases("cases:\n  - {who: a, role: viewer, action: proc.singal, object: proc:/a/1, expect: deny}\n")
    assert "proc.signal" in refused.value.hint
