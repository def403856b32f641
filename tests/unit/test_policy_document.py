"""Files of rules: what they may say, what is refused and where, and what a policy makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmos.kernel.core.principal import SYSTEM, Principal
from llmos.kernel.security.policy.decisions import SHIPPED_MODEL, SHIPPED_ROLES, Policy, Question
from llmos.kernel.security.policy.document import (
    MOST_BYTES,
    MOST_LINES,
    BrokenPolicy,
    Document,
    Effect,
    Place,
    Source,
    parse,
    read_sources,
)
from llmos.kernel.security.policy.grants import Caller, Grants
from llmos.kernel.security.policy.patterns import covers, matches
from llmos.syscalls.abi.errors import InvalidArgument

ALICE = Principal("alice", "developer", "acme")


def document(text: str) -> Document:
    return parse([Source("own.csv", text)])


def problems(text: str) -> list[str]:
    with pytest.raises(BrokenPolicy) as caught:
        document(text)
    return [str(problem) for problem in caught.value.problems]


def test_rules_and_grants_are_read_with_their_places() -> None:
    read = document("""# a comment
p, role:dev, acme, proc:/$self/*, proc.*, allow, class<=normal  # bounded

g, principal:alice, role:dev, acme
g, role:dev, role:viewer
""")
    (rule,), (grant, hierarchy) = read.rules, read.grants
    assert (rule.place, rule.who, rule.tenant) == (Place("own.csv", 2), "role:dev", "acme")
    assert (rule.object, rule.action, rule.effect, rule.condition) == (
        *("proc:/$self/*", "proc.*", Effect.ALLOW, "class<=normal"),
    )
    assert [term.text for term in rule.terms] == ["class<=normal"]
    assert (str(grant), grant.place) == ("g, principal:alice, role:dev, acme", Place("own.csv", 4))
    assert str(hierarchy) == "g, role:dev, role:viewer, *"
    assert read.roles() == ("dev", "viewer")


def test_lines_are_written_as_they_are_read() -> None:
    lines = ["p, any, *, sys:/, sys.info, allow", "p, role:a, acme, **, *, deny, class<=batch day=mon"]
    assert [str(rule) for rule in document("\n".join(lines)).rules] == lines


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("q, any", "begins with p or g"),
        ("p, any, *, sys:/, sys.info", "5 or 6 fields"),
        ("p, any, *, sys:/, sys.info, allow, class<=batch, extra", "5 or 6 fields"),
        ("p, alice, *, sys:/, sys.info, allow", "who is"),
        ("p, role:a*, *, sys:/, sys.info, allow", "who is"),
        ("p, any, a*, sys:/, sys.info, allow", "a tenant is"),
        ("p, any, *, , sys.info, allow", "an object is"),
        ("p, any, *, proc:/a b/*, sys.info, allow", "an object is"),
        ("p, any, *, sys:/, , allow", "an action is"),
        ("p, any, *, sys:/, sys.info, permit", "allow or deny"),
        ("p, any, *, sys:/, sys.info, allow, class<=urgent", "no priority class"),
        ("g, principal:alice, role:dev", "a grant is"),
        ("g, any, role:dev, *", "a grant is for"),
        ("g, principal:alice, principal:bob, *", "a grant gives"),
        ("g, principal:alice, role:dev, a*", "a tenant is"),
        ("g, role:a, role:a", "have each other"),
    ],
)
def test_a_line_that_is_wrong_is_named_with_the_reason(line: str, reason: str) -> None:
    (found,) = problems(f"# first\n{line}\n")
    assert found.startswith("own.csv:2: ")
    assert reason in found


def test_all_that_is_wrong_is_named_and_the_message_stays_short() -> None:
    assert len(problems("q\n" * 50)) == 50
    with pytest.raises(BrokenPolicy, match="and 30 more"):
        document("q\n" * 50)


def test_roles_that_have_each_other_are_refused_in_every_line_of_the_circle() -> None:
    found = problems("g, role:a, role:b\ng, role:b, role:c, acme\ng, role:c, role:a\ng, role:d, role:a\n")
    assert [one.partition(": ")[0] for one in found] == ["own.csv:1", "own.csv:2", "own.csv:3"]


def test_files_that_are_too_long_are_refused() -> None:
    with pytest.raises(BrokenPolicy, match="lines"):
        document("\n" * (MOST_LINES + 1))
    with pytest.raises(BrokenPolicy, match="characters"):
        document("#" * (MOST_BYTES + 1))


def test_a_folder_is_read_by_name_and_a_missing_file_is_an_error(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "notes.txt"):
        (tmp_path / name).write_text("# nothing\n")
    assert [source.name for source in read_sources(tmp_path)] == ["a.csv", "b.csv"]
    with pytest.raises(InvalidArgument, match="cannot be read"):
        read_sources(tmp_path / "c.csv")
    (tmp_path / "d.csv").write_bytes(b"\xff")
    with pytest.raises(InvalidArgument, match="UTF-8"):
        read_sources(tmp_path / "d.csv")


@pytest.mark.parametrize(
    ("name", "pattern", "fits"),
    [
        ("proc:/alice/1", "proc:/*/*", True),
        ("proc:/alice/1", "proc:/*", False),
        ("proc:/alice/1", "proc:/**", True),
        ("proc:/alice/1", "proc:/$self/*", True),
        ("proc:/bob/1", "proc:/$self/*", False),
        ("key:/acme/alice", "key:/$tenant/$self", True),
        ("proc:/alice/1", "PROC:/*/*", False),
        ("proc:/alice/1", "proc:.*", False),
        ("proc:/alice/12", "proc:/al*/*2", True),
        ("sys:/", "**", True),
        ("sys:/", "sys:/*", True),
    ],
)
def test_patterns_fit_names(name: str, pattern: str, fits: bool) -> None:
    assert matches(name, pattern, "principal:alice", "acme") is fits


@pytest.mark.parametrize(
    ("wide", "narrow", "covered"),
    [
        ("proc:/**", "proc:/*/*", True),
        ("proc:/*/*", "proc:/**", False),
        ("proc:/*/*", "proc:/$self/1", True),
        ("proc:/a*/*", "proc:/$self/1", False),
        ("*self", "$self", False),
        ("$*", "$self", False),
        ("proc.*", "proc.swap_*", True),
        ("proc.swap_*", "proc.*", False),
    ],
)
def test_a_pattern_covers_another_only_if_it_surely_does(wide: str, narrow: str, covered: bool) -> None:
    assert covers(wide, narrow) is covered


def test_roles_are_held_where_they_are_granted() -> None:
    grants = Grants(document("g, principal:al, role:a, acme\ng, role:a, role:b\ng, role:b, role:c, beta\n").grants)
    assert grants.held(Caller("al", "acme", "own"), "acme") == ("any", "principal:al", "role:own", "role:a", "role:b")
    assert grants.held(Caller("al", "acme", ""), "beta") == ("any", "principal:al")
    assert grants.held(Caller("zoe", "beta", "a"), "beta") == ("any", "principal:zoe", "role:a", "role:b", "role:c")


def test_a_deny_outweighs_every_allow_and_the_deciding_rule_is_named() -> None:
    policy = Policy(document("p, any, *, **, **, allow\np, any, *, **, ctx.read, deny\np, any, *, **, ctx.*, allow\n"))
    read, info = (Question(ALICE, "acme", "proc:/alice/1", action) for action in ("ctx.read", "proc.info"))
    assert [found.rule.place.line for found in policy.considered(read)] == [1, 2, 3]
    for question, allowed, line in ((read, False, 2), (info, True, 1)):
        decision = policy.decide(question)
        assert decision.rule is not None
        assert (decision.allowed, decision.rule.place.line) == (allowed, line)


def test_the_empty_policy_denies_everything_to_everybody() -> None:
    decision = Policy(document("")).decide(Question(Principal("root", "admin", SYSTEM), SYSTEM, "sys:/", "sys.info"))
    assert (decision.allowed, decision.rule) == (False, None)


def test_a_role_holds_in_its_own_tenant_and_that_of_system_everywhere() -> None:
    policy = Policy(parse(read_sources(SHIPPED_ROLES)))
    chief, root = Principal("chief", "admin", "acme"), Principal("root", "admin", SYSTEM)
    allowed = {
        (who.name, tenant): policy.decide(Question(who, tenant, "proc:/x/1", "ctx.read")).allowed
        for who in (chief, root)
        for tenant in ("acme", "beta")
    }
    assert allowed == {
        ("chief", "acme"): True,
        ("chief", "beta"): False,
        ("root", "acme"): True,
        ("root", "beta"): True,
    }


def test_a_model_of_ones_own_decides_as_it_says(tmp_path: Path) -> None:
    model = tmp_path / "model.conf"
    model.write_text(SHIPPED_MODEL.read_text().replace('p.sub == "any" || ', ""))
    policy = Policy(document("p, any, *, **, **, allow\np, role:developer, *, **, sys.*, allow\n"), model)
    answers = [policy.decide(Question(ALICE, "acme", "sys:/", action)).allowed for action in ("sys.info", "ctx.read")]
    assert answers == [True, False]


def test_a_question_that_a_model_of_ones_own_cannot_evaluate_is_denied(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = tmp_path / "model.conf"
    model.write_text(SHIPPED_MODEL.read_text().replace("m = (", 'm = 1 / (r.act != "ctx.read") > 0 && (', 1))
    policy = Policy(document("p, any, *, **, sys.*, allow\np, any, *, **, ctx.*, allow\n"), model)
    answers = [policy.decide(Question(ALICE, "acme", "sys:/", action)).allowed for action in ("sys.info", "ctx.read")]
    assert answers == [True, False]
    assert "does not evaluate" in caplog.text


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("[matchers]", "[other]", "no definition of `m`"),
        ("r = sub, role, home, dom", "r = sub, role, dom", "`r` must be"),
        ("p = sub, dom", "p = dom, sub", "`p` must be"),
        ("within(r.dom", "inside(r.dom", "cannot be evaluated"),
        ("m = (", "m = ((", "cannot be evaluated"),
        ("e = some(where (p.eft == allow)) &&", "e = perhaps &&", "cannot be evaluated"),
    ],
)
def test_a_model_that_makes_no_sense_is_refused_when_it_is_loaded(
    tmp_path: Path, old: str, new: str, reason: str
) -> None:
    model = tmp_path / "model.conf"
    model.write_text(SHIPPED_MODEL.read_text().replace(old, new, 1))
    with pytest.raises(InvalidArgument, match=reason):
        Policy(parse(read_sources(SHIPPED_ROLES)), model)
