"""Strategies for policies and questions over few names, so that rules often fit, and sometimes twice."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import strategies as st

from llmos.kernel.core.principal import SYSTEM, Principal
from llmos.kernel.security.policy.conditions import NOTHING, Attributes, Circumstances, at
from llmos.kernel.security.policy.decisions import Question
from llmos.kernel.security.policy.document import Document, Source, parse
from llmos.syscalls.abi.words import KeyKind, PriorityClass

NAMES = ("ann", "bob", "acme", "t")
ROLES = ("r1", "r2", "r3")
TENANTS = ("acme", "beta", SYSTEM)
ACTIONS = ("proc.info", "proc.spawn", "sys.info", "ctx.read")
OBJECTS = ("proc:/ann/1", "proc:/bob/*", "proc:/acme/12", "sys:/", "key:/acme/ann", "key:/beta/bob", "audit:/t")
OBJECT_PATTERNS = (
    *(
        "**",
        "*",
        "proc:/**",
        "proc:/*/*",
        "proc:/$self/*",
        "proc:/$self/1",
        "proc:/b*/*",
        "proc:/ann/1",
        "proc:/*nn/1*",
    ),
    *("sys:/", "sys:/*", "*:/", "key:/$tenant/$self", "key:/$tenant/*", "key:/**/ann", "audit:/$tenant", "**/$self/*"),
    *("proc:/*/12", "proc:/bob/*", "share:/tenant", "**/12"),
)
ACTION_PATTERNS = ("**", "*", "proc.*", "*.info", "proc.info", "proc.spawn", "ctx.read", "sys.*")
CONDITIONS = (
    *(
        "class<=normal",
        "class>batch context<10",
        "model=a*|b",
        "model!=a",
        "kind=app",
        "time=08:00-18:00",
        "class!=idle",
    ),
    *("time=22:00-06:00 day=mon-fri", "day=sat|sun", "weight>=5", "class<batch class>=batch", "weight>=5 model=c"),
)

WHO = st.one_of(
    st.just("any"),
    st.sampled_from(ROLES).map("role:{}".format),
    st.sampled_from(NAMES).map("principal:{}".format),
)
RULES = st.builds(
    "p, {}, {}, {}, {}, {}, {}".format,
    WHO,
    st.sampled_from(("*", *TENANTS)),
    st.just("**") | st.sampled_from(OBJECT_PATTERNS),
    st.just("*") | st.sampled_from(ACTION_PATTERNS),
    st.sampled_from(("allow", "allow", "deny")),
    st.just("") | st.sampled_from(CONDITIONS),
)
GIVEN = [(f"principal:{name}", role) for name in NAMES for role in ROLES]
GIVEN += [("role:r1", "r2"), ("role:r1", "r3"), ("role:r2", "r3")]
"""Who may have which role, without roles that have each other: those are no policy."""

GRANTS = st.builds(
    lambda given, tenant: f"g, {given[0]}, role:{given[1]}, {tenant}",
    st.sampled_from(GIVEN),
    st.sampled_from(("*", *TENANTS)),
)
LINES = RULES | RULES | RULES | GRANTS
TEXTS = st.integers(0, 14).flatmap(lambda count: st.lists(LINES, min_size=count, max_size=count)).map("\n".join)
ATTRIBUTES = st.builds(
    Attributes,
    st.none() | st.sampled_from(PriorityClass),
    st.none() | st.sampled_from((1, 9, 10, 4096)),
    st.none() | st.sampled_from((4, 5, 6)),
    st.none() | st.sampled_from(("a", "ab", "b", "c")),
)
MOMENTS = st.sampled_from([datetime(2026, 11, 21) + timedelta(hours=hour) for hour in range(0, 96, 3)])
PRINCIPALS = st.builds(
    Principal, st.sampled_from(NAMES), st.sampled_from(ROLES), st.sampled_from(TENANTS), st.sampled_from(KeyKind)
)


@st.composite
def questions(draw: st.DrawFn) -> Question:
    """Any question, whether or not a call could ask it."""
    who = draw(PRINCIPALS)
    circumstances = Circumstances(draw(ATTRIBUTES), who.kind, *at(draw(MOMENTS)))
    return Question(
        who,
        draw(st.sampled_from(TENANTS)),
        draw(st.sampled_from(OBJECTS)),
        draw(st.sampled_from(ACTIONS)),
        circumstances,
    )


def documents() -> st.SearchStrategy[Document]:
    """Policies of up to 14 lines."""
    return TEXTS.map(document_of)


def document_of(text: str) -> Document:
    """The policy of one file."""
    return parse([Source("own.csv", text)])


_SPAWNS = st.builds(
    Attributes,
    st.sampled_from(PriorityClass),
    st.sampled_from((1, 9, 10, 4096)),
    st.sampled_from((4, 5, 6)),
    st.sampled_from(("a", "ab", "b", "c")),
)


@st.composite
def asked_by_calls(draw: st.DrawFn) -> Question:
    """A question as the calls of the table ask them."""
    who = draw(PRINCIPALS)
    tenant = draw(st.just(who.tenant) | st.sampled_from(TENANTS))
    name = draw(st.just(who.name) | st.sampled_from(NAMES))
    action = draw(st.sampled_from((*ACTIONS, "sec.key_list", "sec.audit_read", "ctx.share")))
    object = f"proc:/{name}/{draw(st.sampled_from(('1', '12', '*')))}"
    match action:
        case "sys.info":
            tenant, object = SYSTEM, "sys:/"
        case "sec.key_list":
            object = f"key:/{tenant}/*"
        case "sec.audit_read":
            object = f"audit:/{tenant}"
        case "ctx.share":
            tenant, object = who.tenant, "share:/tenant"
        case _:
            pass
    attributes = draw(_SPAWNS) if action == "proc.spawn" else NOTHING
    return Question(who, tenant, object, action, Circumstances(attributes, who.kind, *at(draw(MOMENTS))))
