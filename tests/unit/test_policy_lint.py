"""What `lint` finds, how bad it is, and what it leaves alone."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from llmos.kernel.security.policy.decisions import SHIPPED_ROLES
from llmos.kernel.security.policy.document import Place, Source, parse, read_sources
from llmos.kernel.security.policy.lint import SHIPPED, Code, Finding, Severity, lint

OWN = "proc:/$self/*"


def found(*lines: str) -> list[Finding]:
    """Findings about a file, without those about roles that keys may give."""
    findings = lint(parse([Source("own.csv", "\n".join(lines))]), roles_of_keys=("a", "b", "c"))
    return list(findings)


def codes(*lines: str) -> list[tuple[int, Code]]:
    return [(finding.place.line, finding.code) for finding in found(*lines)]


def allow(object: str = OWN, action: str = "proc.info", who: str = "role:a", tenant: str = "*", when: str = "") -> str:
    return f"p, {who}, {tenant}, {object}, {action}, allow, {when}"


def deny(object: str = OWN, action: str = "proc.info", who: str = "role:a", tenant: str = "*", when: str = "") -> str:
    return f"p, {who}, {tenant}, {object}, {action}, deny, {when}"


def test_the_shipped_roles_are_clean_and_known() -> None:
    shipped = parse(read_sources(SHIPPED_ROLES))
    assert lint(shipped) == ()
    assert set(shipped.roles()) == set(SHIPPED)


def test_a_finding_is_one_line_that_begins_with_the_place() -> None:
    (finding,) = found(allow("sys:/", "sys.inf"))
    assert str(finding).startswith("own.csv:1: error: ")
    assert "\n" not in str(finding)


def test_the_same_rule_twice_is_a_duplicate_of_the_first() -> None:
    (finding,) = found(allow(), allow(action="proc.why"), allow())
    assert (finding.code, finding.severity) == (Code.DUPLICATE, Severity.WARNING)
    assert (finding.place, finding.other) == (Place("own.csv", 3), Place("own.csv", 1))


def test_the_same_grant_twice_is_a_duplicate() -> None:
    grant = "g, principal:al, role:a, acme"
    assert codes(allow(), grant, grant) == [(3, Code.DUPLICATE)]


@pytest.mark.parametrize(
    "wide",
    [
        allow("proc:/*/*"),
        allow("**", "proc.*"),
        allow(action="proc.*"),
        allow(who="any"),
        allow(who="role:b"),
    ],
)
@pytest.mark.parametrize("first", [True, False], ids=["wide first", "narrow first"])
def test_a_rule_beside_a_wider_one_is_shadowed(wide: str, first: bool) -> None:
    narrow, grant = allow(when="day=mon", tenant="acme"), "g, role:a, role:b"
    lines = (grant, wide, narrow) if first else (grant, narrow, wide)
    (finding,) = found(*lines, allow(action="gen.cancel", who="role:b"))
    assert (finding.code, finding.severity) == (Code.SHADOWED, Severity.WARNING)
    assert (finding.place.line, finding.other) == ((3, Place("own.csv", 2)) if first else (2, Place("own.csv", 3)))


@pytest.mark.parametrize(
    "other",
    [
        allow("proc:/alice/*"),
        allow(action="proc.why"),
        allow(who="role:c"),
        allow(who="principal:al"),
        allow(tenant="acme"),
        allow(when="day=tue"),
        allow("proc:/$self/1"),
    ],
)
def test_a_rule_that_adds_something_is_not_shadowed(other: str) -> None:
    assert codes(other, allow(tenant="beta", who="role:b"), allow("proc:/*/7", when="day=mon")) == []


def test_a_wider_rule_under_another_condition_shadows_nothing() -> None:
    assert codes(allow("proc:/*/*", when="day=tue"), allow(when="day=mon")) == []


def test_a_role_that_is_held_in_one_tenant_shadows_there_only() -> None:
    grant, wide = "g, role:a, role:b, acme", allow(who="role:b")
    assert codes(grant, wide, allow(tenant="acme")) == [(3, Code.SHADOWED)]
    assert codes(grant, wide, allow(tenant="beta")) == []
    assert codes(grant, wide, allow()) == []


def test_a_narrower_deny_beside_a_wider_one_is_shadowed_too() -> None:
    assert codes(allow(action="proc.*"), deny(), deny(action="proc.*", when="")) == [
        (1, Code.CONTRADICTED),
        (2, Code.SHADOWED),
    ]


def test_an_allow_that_a_deny_covers_is_contradicted() -> None:
    (finding,) = found(allow(tenant="acme"), deny("proc:/**", "*.info", who="any"))
    assert (finding.code, finding.place.line, finding.other) == (Code.CONTRADICTED, 1, Place("own.csv", 2))
    assert finding.severity is Severity.WARNING


def test_a_deny_with_a_condition_contradicts_only_what_surely_meets_it() -> None:
    spawn = "proc.spawn"
    assert codes(allow(when="day=mon"), deny(when="day=mon")) == [(1, Code.CONTRADICTED)]
    assert codes(allow(), deny(when="day=mon")) == []
    bounded = "class<=normal"
    assert codes(allow(action=spawn, when=bounded), deny(action=spawn, when=bounded)) == []


def test_overruling_an_earlier_file_is_a_note() -> None:
    own = Source("own.csv", "p, any, *, sys:/, sys.drain, deny\np, role:viewer, *, proc:/**, proc.*, allow\n")
    findings = lint(parse([*read_sources(SHIPPED_ROLES), own]))
    assert {finding.place.file for finding in findings} == {SHIPPED_ROLES.name}
    assert {finding.code for finding in findings} == {Code.CONTRADICTED, Code.SHADOWED}
    assert {finding.severity for finding in findings} == {Severity.NOTE}


def test_repeating_an_earlier_file_is_a_warning() -> None:
    own = Source("own.csv", "p, role:viewer, acme, proc:/*/*, proc.info, allow\n")
    (finding,) = lint(parse([*read_sources(SHIPPED_ROLES), own]))
    assert (finding.code, finding.severity, finding.place.file) == (Code.SHADOWED, Severity.WARNING, "own.csv")


def test_a_deny_of_what_nothing_allows_is_a_note() -> None:
    (finding,) = found(allow(), deny(action="proc.signal"))
    assert (finding.code, finding.severity, finding.place.line) == (Code.UNNEEDED, Severity.NOTE, 2)
    assert codes(allow(tenant="acme"), deny(tenant="beta")) == [(2, Code.UNNEEDED)]
    assert codes(allow(who="principal:al"), deny(who="principal:bo")) == [(2, Code.UNNEEDED)]


@pytest.mark.parametrize(
    "needed", [deny("proc:/*/7"), deny(who="principal:al", tenant="acme"), deny(action="*.info", when="day=mon")]
)
def test_a_deny_that_may_bite_is_left_alone(needed: str) -> None:
    assert codes(allow(), needed) == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (allow("sys:/", "sys.inf"), "sys.info"),
        (allow(action="$self.info"), "$self"),
        (allow("proc/alice", "proc.info"), "proc/alice"),
        (allow("prok:/alice/*", "proc.info"), "prok:/"),
        (allow("sys:/", "proc.info"), "proc.info"),
        (allow("proc:/alice", "proc.info"), "proc:/alice"),
        (allow("sys:/$self", "sys.info"), "$self"),
        (allow("key:/$self/*", "sec.key_list"), "$self"),
        (allow("sys:/", "sys.info", tenant="acme"), "acme"),
        (allow("key:/beta/*", "sec.key_list", tenant="acme"), "acme"),
        (allow("audit:/acme", "sec.audit_read", tenant="beta"), "beta"),
        (allow(action="proc.spawn", when="class<=batch class>=normal"), "class>=normal"),
        (allow(action="proc.spawn", when="context<10 context>20"), "context>20"),
        (allow(action="proc.spawn", when="weight<1"), "weight<1"),
        (allow(action="proc.spawn", when="class<idle"), "class<idle"),
        (allow(action="proc.spawn", when="context>4 context<6 context!=5"), "context!=5"),
        (allow(action="proc.spawn", when="model=a|b model=c"), "model=c"),
        (allow(action="proc.spawn", when="model=a|b model!=a* model!=b"), "model!=b"),
        (allow(when="kind=user kind!=user"), "kind!=user"),
        (allow(when="day=mon day=tue"), "day=tue"),
        (allow(when="time=08:00-10:00 time=12:00-14:00"), "time=12:00-14:00"),
        (deny(action="proc.signal", when="class<=batch"), "class"),
        (deny(action="proc.limits", when="model=a"), "model"),
    ],
)
def test_a_rule_that_never_matches_is_an_error_with_the_reason(line: str, reason: str) -> None:
    (finding,) = found("p, role:b, *, proc:/**, proc.*, allow", line)
    assert (finding.code, finding.severity, finding.place.line) == (Code.NEVER_MATCHES, Severity.ERROR, 2)
    assert reason in finding.message


def test_an_impossible_allow_still_counts_for_calls_that_carry_no_such_thing() -> None:
    """Such a deny is not unneeded: without it the rule would allow signals."""
    assert codes(allow(action="proc.*", when="class<=batch class>=normal"), deny(action="proc.signal")) == [
        (1, Code.IMPOSSIBLE_BOUNDS)
    ]
    (finding,) = found(allow(), deny(action="proc.spawn", when="class<=batch class>=normal"))
    assert finding.code is Code.NEVER_MATCHES


@pytest.mark.parametrize(
    "line",
    [
        allow("*:/**", "*"),
        allow("**/7", "proc.info"),
        allow("key:/**", "sec.*", tenant="acme"),
        allow("key:/$tenant/$self-*", "sec.key_create", when="role=app|viewer role!=viewer"),
        allow("key:/system/server", "sec.key_rotate", tenant="system"),
        allow("share:/tenant", "ctx.share"),
        allow("audit:/$tenant", "sec.audit_read"),
        allow(action="proc.*", when="class<=normal context<=10 weight!=3"),
        allow(action="proc.spawn", when="model=a* model=*b"),
        allow(when="time=22:00-06:00 time=05:00-08:00 day=fri-mon day=sun"),
        allow(action="proc.spawn", when="context>4 context<7 context!=5"),
        deny("proc:/**", "*", who="role:b", when="class>=normal"),
    ],
)
def test_a_rule_that_may_match_is_left_alone(line: str) -> None:
    assert codes(allow(who="any", object="proc:/x/1", action="proc.spawn"), line) == []


def test_bounds_that_nothing_meets_are_an_error_though_other_calls_pass() -> None:
    (finding,) = found(allow(action="proc.*", when="class<=batch class>=normal"))
    assert (finding.code, finding.severity) == (Code.IMPOSSIBLE_BOUNDS, Severity.ERROR)
    assert "class>=normal" in finding.message


def test_a_bound_that_no_call_carries_is_a_warning_on_an_allow() -> None:
    (finding,) = found(allow(action="proc.signal", when="class<=batch"))
    assert (finding.code, finding.severity) == (Code.BOUNDS_NOTHING, Severity.WARNING)


def test_a_role_that_only_keys_can_give_is_a_note_unless_some_do() -> None:
    document = parse([Source("own.csv", allow(who="role:qa"))])
    (finding,) = lint(document)
    assert (finding.code, finding.severity, finding.place.line) == (Code.UNKNOWN_ROLE, Severity.NOTE, 1)
    assert lint(document, roles_of_keys=("qa",)) == ()
    assert codes(allow(who="role:qa"), "g, principal:al, role:qa, acme") == []


def test_a_grant_of_a_role_without_rules_is_a_warning() -> None:
    (finding,) = found(allow(), "g, principal:al, role:nothing, acme")
    assert (finding.code, finding.severity, finding.place.line) == (Code.UNKNOWN_ROLE, Severity.WARNING, 2)
    assert codes(allow(), "g, principal:al, role:b, acme", "g, role:b, role:a") == []


@pytest.mark.parametrize("action", ["*", "**"])
def test_everything_for_anybody_but_admins_is_too_wide(action: str) -> None:
    assert codes(allow("**", action, who="any")) == [(1, Code.TOO_WIDE)]
    assert codes(allow("**", action, who="role:admin")) == []
    assert codes(allow("**", "proc.*", who="any")) == []


def _mixed(number: int) -> str:
    who = ("any", f"role:r{number % 200}", f"principal:p{number % 1700}")[number % 3]
    object = (OWN, f"proc:/p{number % 431}/*", "proc:/**", f"proc:/team-{number}-*/*")[number % 4]
    action = ("proc.info", "proc.*", "ctx.read", "ctx.*", "gen.generate")[number % 5]
    when = ("", "class<=normal", "day=mon", "model=m1|m2")[number % 7 % 4]
    tenant, effect = ("*", "t1", "t2")[number % 11 % 3], ("allow", "deny")[number % 13 == 0]
    return f"p, {who}, {tenant}, {object}, {action}, {effect}, {when}"


def _own(number: int) -> str:
    return f"p, role:r{number}, *, proc:/$self/*, proc.info, {('allow', 'deny')[number % 2]}"


def _teams(number: int) -> str:
    return f"p, role:a, *, proc:/team-{number}-*/*, proc.info, {('allow', 'deny')[number % 2]}"


def _middles(number: int) -> str:
    return f"p, role:a, *, **/x{number}*/**, **, {('allow', 'deny')[number % 2]}"


def _grants(number: int) -> str:
    return f"g, principal:p{number}, role:r{number % 50}, t{number % 9}"


@pytest.mark.parametrize(
    "line", [_mixed, _own, _teams, _middles, _grants], ids=["mixed", "own", "teams", "middles", "grants"]
)
def test_ten_thousand_lines_are_looked_at_in_seconds(line: Callable[[int], str]) -> None:
    document = parse([Source("own.csv", "\n".join(line(number) for number in range(10_000)))])
    start = time.process_time()
    lint(document)
    assert time.process_time() - start < 10
