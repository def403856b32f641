"""The least policy from recorded calls, what a change of the policy changes, and nothing more than that."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from llmos.kernel.core.principal import SYSTEM, Principal
from llmos.kernel.security.policy.conditions import UNLIMITED, Attributes
from llmos.kernel.security.policy.decisions import SHIPPED_ROLES, Policy
from llmos.kernel.security.policy.difference import changes, difference
from llmos.kernel.security.policy.document import Document, Source, parse, read_sources
from llmos.kernel.security.policy.learn import learn
from llmos.kernel.security.policy.recorded import RecordedCall
from llmos.syscalls.abi.words import PriorityClass

ALICE, BOB = Principal("alice", "tester", "acme"), Principal("bob", "tester", "acme")
ROOT = Principal("root", "tester", SYSTEM)


def call(
    action: str, object: str, attributes: str = "", who: Principal = ALICE, tenant: str = "acme", allowed: bool = True
) -> RecordedCall:
    return RecordedCall(who, tenant, object, action, attributes, allowed)


def learnt(*calls: RecordedCall) -> list[str]:
    return [str(rule) for rule in learn(calls, "tester")]


def document(*lines: str, name: str = "own.csv") -> Document:
    return parse([Source(name, "\n".join(lines))])


def test_ones_own_name_and_tenant_become_words_and_pids_become_wildcards() -> None:
    assert learnt(
        call("proc.info", "proc:/alice/12"),
        call("proc.info", "proc:/alice/13"),
        call("proc.info", "proc:/bob/14"),
        call("sec.whoami", "key:/acme/alice"),
        call("sec.audit_read", "audit:/acme"),
    ) == [
        "p, role:tester, *, audit:/$tenant, sec.audit_read, allow",
        "p, role:tester, *, key:/$tenant/$self, sec.whoami, allow",
        "p, role:tester, *, proc:/$self/*, proc.info, allow",
        "p, role:tester, *, proc:/bob/*, proc.info, allow",
    ]


def test_what_calls_asked_for_bounds_what_they_may_ask_for() -> None:
    spawns = [
        call("proc.spawn", "proc:/alice/*", attributes)
        for attributes in ("class=idle context=100 model=b weight=5", "class=normal context=4096 model=a weight=9")
    ]
    (line,) = learnt(*spawns)
    assert line == (
        "p, role:tester, *, proc:/$self/*, proc.spawn, allow, class<=normal context<=4096 weight<=9 model=a|b"
    )


def test_a_context_without_limit_is_not_bounded() -> None:
    (line,) = learnt(
        call("proc.limits", "proc:/alice/1", "context=100"),
        call("proc.limits", "proc:/alice/1", f"context={UNLIMITED}"),
    )
    assert line.endswith("proc.limits, allow")


def test_what_was_denied_is_not_learnt() -> None:
    assert learnt(call("proc.info", "proc:/eve/1", allowed=False)) == []


def test_objects_of_another_tenant_are_learnt_with_their_tenant() -> None:
    assert learnt(call("proc.info", "proc:/eve/1", who=ROOT, tenant="beta")) == [
        "p, role:tester, beta, proc:/eve/*, proc.info, allow"
    ]


def test_where_a_key_gives_no_role_the_rule_is_for_the_caller_itself() -> None:
    """A role in a tenant is none in the tenant `system`, whose the daemon is."""
    assert learnt(call("sys.info", "sys:/", tenant=SYSTEM)) == ["p, principal:alice, system, sys:/, sys.info, allow"]


ACTIONS = ("proc.info", "proc.spawn", "ctx.read", "sys.info", "sec.key_list")
OBJECTS = (
    *("proc:/alice/1", "proc:/alice/*", "proc:/bob/12", "proc:/root/3", "sys:/", "key:/acme/alice", "key:/system/*"),
    *("audit:/acme", "share:/principal", "policy:/"),
)
ATTRIBUTES = st.builds(
    Attributes,
    st.none() | st.sampled_from(PriorityClass),
    st.none() | st.integers(0, UNLIMITED),
    st.none() | st.integers(1, 10_000),
    st.none() | st.text(min_size=1, max_size=5),
    st.none() | st.sampled_from(("admin", "app")),
)
CALLS = st.builds(
    RecordedCall,
    st.sampled_from((ALICE, BOB, ROOT)),
    st.sampled_from(("acme", "beta", SYSTEM)),
    st.sampled_from(OBJECTS),
    st.sampled_from(ACTIONS),
    ATTRIBUTES.map(Attributes.text),
    st.booleans(),
)


@given(calls=st.lists(CALLS, max_size=12))
@example(calls=[call("proc.spawn", "proc:/alice/*", Attributes(model="a, allow # $self|*").text())])
@example(calls=[call("proc.spawn", "proc:/alice/*", f"context={UNLIMITED - 1}")])
def test_everything_that_was_allowed_is_allowed_and_no_other_action(calls: list[RecordedCall]) -> None:
    policy = Policy(document(*learnt(*calls)))
    seen = {one.action for one in calls if one.allowed}
    for one in calls:
        allowed = policy.decide(one.question()).allowed
        assert allowed or not one.allowed
        assert one.action in seen or not allowed


@given(calls=st.lists(CALLS, max_size=12))
def test_rules_are_sorted_and_each_is_there_once(calls: list[RecordedCall]) -> None:
    rules = learn(calls, "tester")
    places = [(rule.object, rule.action, rule.tenant, rule.who) for rule in rules]
    assert places == sorted(set(places))
    assert {rule.action for rule in rules} <= set(ACTIONS)


def test_a_difference_has_the_calls_that_get_another_answer_the_most_frequent_first() -> None:
    shipped = read_sources(SHIPPED_ROLES)
    policy = Policy(parse([*shipped, Source("own.csv", "p, role:developer, *, **, ctx.read, deny")]))
    dora = Principal("dora", "developer", "acme")
    read = call("ctx.read", "proc:/dora/2", who=dora)
    calls = [
        call("ctx.append", "proc:/dora/1", who=dora),
        call("ctx.read", "proc:/dora/1", who=dora),
        read,
        read,
        call("proc.info", "proc:/dora/1", who=dora, allowed=False),
        call("proc.info", "proc:/eve/1", who=dora, tenant="beta", allowed=False),
    ]
    asked, changed = difference(calls, policy)
    assert asked == 5
    assert [(one.call.action, one.call.object, one.call.count, one.decision.allowed) for one in changed] == [
        ("ctx.read", "proc:/dora/2", 2, False),
        ("ctx.read", "proc:/dora/1", 1, False),
        ("proc.info", "proc:/dora/1", 1, True),
    ]
    places = [str(one.decision.rule.place) if one.decision.rule is not None else "" for one in changed]
    assert places[:2] == ["own.csv:1", "own.csv:1"]
    assert places[2].startswith("roles.csv:")


def test_changes_are_lines_wherever_they_stand() -> None:
    first, second = "p, any, *, sys:/, sys.info, allow", "g, role:a, role:b, *"
    third = "p, role:b, *, proc:/**, proc.info, allow"
    old, new = document(first, second), document(third, "# moved", second)
    assert changes(old, new) == ((third,), (first,))
    assert changes(document(first), document(first, first)) == ((first,), ())
    assert changes(new, document(second, third)) == ((), ())
