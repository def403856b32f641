"""Who may do what, what a denial says, what nobody may learn, and that no other way leads in."""

from __future__ import annotations

import ast
import dataclasses
from datetime import datetime
from itertools import count
from pathlib import Path

import pytest

from llmos.kernel.core.authority import Authorized, NotAuthorized, Seal
from llmos.kernel.core.principal import SYSTEM, Principal, check_name
from llmos.kernel.core.sharing import Breadth
from llmos.kernel.security.denial import Told
from llmos.kernel.security.identity.registry import Identity
from llmos.kernel.security.membrane import Denied, Membrane
from llmos.kernel.security.names import FilePath
from llmos.kernel.security.objects import SYSTEM_TARGET, Owner, processes_target
from llmos.kernel.security.policy.decisions import SHIPPED_ROLES, Policy
from llmos.kernel.security.policy.document import Source, parse, read_sources
from llmos.syscalls.abi import messages as m
from llmos.syscalls.abi import security as s
from llmos.syscalls.abi.errors import InvalidArgument, NoSuchProcess, NotFound, PermissionDenied
from llmos.syscalls.abi.table import BY_NAME
from llmos.syscalls.abi.words import KeyKind, Limits, Pid, PriorityClass, Record

ROOT_FOLDER = Path(__file__).resolve().parents[2]
ALICE, BOB = Principal("alice", "developer", "acme"), Principal("bob", "developer", "acme")
EVE, ROOT = Principal("eve", "developer", "beta"), Principal("root", "admin", SYSTEM)
CHIEF, BOT = Principal("chief", "admin", "acme"), Principal("bot", "app", "acme", KeyKind.APP)
OLGA = Principal("olga", "operator", "acme")
EVERYBODY = (ALICE, BOB, EVE, ROOT, CHIEF, BOT, OLGA)
ALICES, EVES, NOBODYS = Pid(7), Pid(8), Pid(9)


class World:
    """Alice owns process 7, Eve 8; nobody 9."""

    default_model = "small"
    default_encoder = "minilm"

    def owner_of(self, pid: Pid) -> Owner | None:
        return {ALICES: Owner("alice", "acme"), EVES: Owner("eve", "beta")}.get(pid)

    def mailbox_of(self, pid: Pid) -> Owner | None:
        return self.owner_of(pid)

    def file_of(self, descriptor: int) -> FilePath | None:
        return {ALICES: FilePath("alice", ("notes",)), EVES: FilePath("eve", ("notes",))}.get(Pid(descriptor))

    def named(self, name: str) -> Identity | None:
        return next((Identity(who, name, 0.0) for who in EVERYBODY if who.name == name), None)

    def admins(self, tenant: str) -> tuple[str, ...]:
        return ("chief",) if tenant == "acme" else ("root",)


@dataclasses.dataclass
class Clock:
    """A time of day that stands still until it is set."""

    now: datetime = datetime(2026, 11, 23, 9, 0)

    def __call__(self) -> datetime:
        return self.now


def policy(text: str = "", shipped: bool = True) -> Policy:
    sources = read_sources(SHIPPED_ROLES) if shipped else ()
    return Policy(parse([*sources, Source("own.csv", text)]))


def membrane(text: str = "", shipped: bool = True, clock: Clock | None = None) -> Membrane:
    ids, world = count(1), World()
    return Membrane(policy(text, shipped), world, world, lambda: f"id{next(ids)}", clock or Clock())


def ask(gate: Membrane, who: Principal, name: str, request: Record) -> Authorized:
    return gate.authorize_call(who, BY_NAME[name], request)


def denied(gate: Membrane, who: Principal, name: str, request: Record) -> Denied:
    with pytest.raises(Denied) as refused:
        ask(gate, who, name, request)
    return refused.value


def test_a_denial_says_what_who_which_rule_which_role_whom_to_ask_and_its_id() -> None:
    refused = denied(membrane(), BOB, "proc.signal", m.OnProcess(ALICES))
    error = refused.denial.error()
    assert isinstance(error, PermissionDenied)
    for word in (
        "bob",
        "role developer",
        "tenant acme",
        "proc.signal",
        "proc:/alice/7",
        "no rule allows it",
        "operator",
    ):
        assert word in error.message
    assert error.hint == "ask chief; llmosctl why-denied id1"
    told = Told.read(refused.denial.record())
    assert told.reason == "no rule allows it"
    assert "operator" in told.roles
    assert told.contacts == ("chief",)


def test_a_denial_names_a_few_of_many_roles_and_its_record_is_whole() -> None:
    text = "".join(f"p, role:{letter * 60}, *, proc:/**, proc.signal, allow\n" for letter in "abcdefghijklmnop")
    denial = denied(membrane(text, shipped=False), BOB, "proc.signal", m.OnProcess(ALICES)).denial
    assert len(denial.roles) == 5
    assert len(denial.record()) < 1024
    assert Told.read(denial.record()).contacts == ("chief",)


def test_a_denial_names_the_rule_that_denies_or_the_condition_that_was_not_met() -> None:
    gate = membrane("\n\np, role:developer, acme, proc:/$self/*, gen.*, deny\n")
    assert "own.csv:3 denies it" in denied(gate, ALICE, "gen.generate", m.Generate(ALICES)).denial.error().message
    urgent = m.Spawn(priority=PriorityClass.REALTIME)
    message = denied(gate, ALICE, "proc.spawn", urgent).denial.error().message
    assert "allows it only with class<=interactive" in message
    assert "the role admin may" in message


def test_another_tenants_process_is_told_as_one_that_does_not_exist() -> None:
    gate = membrane()
    for name in ("proc.info", "ctx.read", "gen.cancel"):
        hidden = denied(gate, ALICE, name, m.OnProcess(EVES)).denial.error()
        missing = denied(gate, ALICE, name, m.OnProcess(NOBODYS)).denial.error()
        assert isinstance(hidden, NoSuchProcess)
        assert isinstance(missing, NoSuchProcess)
        assert (hidden.message.replace("8", "9"), hidden.hint) == (missing.message, missing.hint)


def test_what_does_not_exist_is_not_remembered_as_denied() -> None:
    gate, world = membrane(), World()
    denied(gate, ALICE, "proc.info", m.OnProcess(NOBODYS))
    gate.owners = type("Later", (World,), {"owner_of": lambda self, pid: Owner("alice", "acme")})()
    assert ask(gate, ALICE, "proc.info", m.OnProcess(NOBODYS)).object == "proc:/alice/9"
    assert world.owner_of(NOBODYS) is None


def test_an_administrator_of_all_is_told_the_truth_about_what_does_not_exist() -> None:
    with pytest.raises(NoSuchProcess):
        ask(membrane(), ROOT, "proc.info", m.OnProcess(NOBODYS))
    with pytest.raises(NotFound):
        ask(membrane(), ROOT, "sec.key_revoke", s.RevokeKey("nobody"))


def test_a_tenants_administrator_rules_its_tenant_and_nothing_else() -> None:
    gate = membrane()
    assert ask(gate, CHIEF, "ctx.read", m.OnProcess(ALICES)).owner == "alice"
    denied(gate, CHIEF, "ctx.read", m.OnProcess(EVES))
    denied(gate, CHIEF, "sys.shutdown", m.Nothing())
    denied(gate, CHIEF, "sec.policy_apply", s.ApplyPolicy("x.csv", ""))
    ask(gate, CHIEF, "sec.key_create", s.CreateKey("new", "viewer", "0" * 40))
    denied(gate, CHIEF, "sec.key_create", s.CreateKey("new", "viewer", "0" * 40, "beta"))
    denied(gate, CHIEF, "sec.key_create", s.CreateKey("new", "admin", "0" * 40, SYSTEM))


def test_an_operator_sees_the_process_table_and_no_contents() -> None:
    gate = membrane()
    ask(gate, OLGA, "proc.signal", m.OnProcess(ALICES))
    denied(gate, OLGA, "ctx.read", m.OnProcess(ALICES))
    denied(gate, OLGA, "proc.fork", m.OnProcess(ALICES))


def test_what_a_call_asks_for_is_bounded_by_conditions() -> None:
    gate = membrane("p, role:app, *, proc:/$self/*, proc.spawn, deny, context>4096\n")
    ask(gate, BOT, "proc.spawn", m.Spawn(limits=Limits(context_tokens=4096)))
    for request in (
        m.Spawn(),
        m.Spawn(limits=Limits(context_tokens=5000)),
        m.Spawn(priority=PriorityClass.INTERACTIVE),
    ):
        denied(gate, BOT, "proc.spawn", request)


def test_roles_are_given_by_policy_in_one_tenant_only() -> None:
    gate = membrane("g, principal:bob, role:operator, acme\n")
    ask(gate, BOB, "proc.signal", m.OnProcess(ALICES))
    denied(gate, BOB, "proc.signal", m.OnProcess(EVES))
    elsewhere = membrane("g, principal:bob, role:operator, beta\n")
    ask(elsewhere, BOB, "proc.signal", m.OnProcess(EVES))
    denied(elsewhere, BOB, "proc.signal", m.OnProcess(ALICES))


def test_a_deny_outweighs_every_allow() -> None:
    gate = membrane("p, principal:root, *, sys:/, sys.shutdown, deny\n")
    ask(gate, ROOT, "sys.drain", m.Drain())
    assert denied(gate, ROOT, "sys.shutdown", m.Nothing()).denial.roles == ()


def test_nothing_is_allowed_that_no_rule_allows() -> None:
    gate = membrane("", shipped=False)
    for who in EVERYBODY:
        denied(gate, who, "sys.info", m.Nothing())


def test_a_name_that_looks_like_a_role_gains_nothing() -> None:
    denied(membrane(), Principal("admin", "developer", "acme"), "sys.shutdown", m.Nothing())
    denied(membrane(), Principal("x", "any", "acme"), "sys.shutdown", m.Nothing())


def test_a_new_policy_holds_at_once_and_for_what_is_under_way() -> None:
    gate = membrane()
    proof = ask(gate, ALICE, "gen.generate", m.Generate(ALICES))
    gate.authorize_again(proof)
    gate.replace(policy("p, principal:alice, *, proc:/**, gen.*, deny\n"))
    denied(gate, ALICE, "gen.generate", m.Generate(ALICES))
    with pytest.raises(Denied):
        gate.authorize_again(proof)


def test_answers_that_depend_on_the_time_change_with_it() -> None:
    clock = Clock()
    gate = membrane("p, role:developer, *, proc:/**, gen.*, deny, time=12:00-13:00\n", clock=clock)
    ask(gate, ALICE, "gen.generate", m.Generate(ALICES))
    clock.now = datetime(2026, 11, 23, 12, 0)
    denied(gate, ALICE, "gen.generate", m.Generate(ALICES))
    clock.now = datetime(2026, 11, 23, 13, 0)
    ask(gate, ALICE, "gen.generate", m.Generate(ALICES))


def test_a_further_pid_is_checked_like_the_first() -> None:
    gate = membrane()
    assert gate.authorize_process(ALICE, ALICES, "proc.spawn").object == "proc:/alice/7"
    for pid in (EVES, NOBODYS):
        with pytest.raises(Denied) as refused:
            gate.authorize_process(ALICE, pid, "proc.spawn")
        assert refused.value.denial.hidden


def test_listing_shows_ones_own_to_operators_their_tenants_and_to_root_everybodys() -> None:
    gate = membrane()

    def shown(who: Principal) -> set[str]:
        owners = (Owner("alice", "acme"), Owner("bob", "acme"), Owner("eve", "beta"))
        return {owner.name for owner in owners if gate.permits(who, processes_target(owner), "proc.info")}

    assert shown(ALICE) == {"alice"}
    assert shown(OLGA) == {"alice", "bob"}
    assert shown(ROOT) == {"alice", "bob", "eve"}
    assert not gate.permits(OLGA, SYSTEM_TARGET, "sys.metrics")


@pytest.mark.parametrize("breadth", list(Breadth))
def test_with_whom_prefixes_are_shared_is_policy(breadth: Breadth) -> None:
    rules = f"p, any, *, share:/{breadth.value}, ctx.share, allow\n" if breadth is not Breadth.PRIVATE else ""
    scope = membrane(f"{rules}p, any, *, share:/principal, ctx.share, allow\n" if rules else "", False).share_scope(
        ALICE
    )
    assert scope.breadth is breadth
    other = membrane(rules, False).share_scope(BOB)
    stranger = membrane(rules, False).share_scope(EVE)
    same = {Breadth.ROLE, Breadth.TENANT, Breadth.PUBLIC}
    assert (scope.parts(ALICES) == other.parts(EVES)) is (breadth in same)
    assert (scope.parts(ALICES) == stranger.parts(EVES)) is (breadth is Breadth.PUBLIC)


def test_the_shipped_policy_shares_within_a_principal() -> None:
    assert membrane().share_scope(ALICE).breadth is Breadth.PRINCIPAL


@pytest.mark.parametrize("name", ["", "*", "a/b", "../x", "$self", "a*", "kernel", "x" * 65, "a b", "-a"])
def test_a_name_holds_nothing_that_patterns_mean(name: str) -> None:
    with pytest.raises(InvalidArgument):
        check_name(name)


def test_nobody_else_makes_an_authorized() -> None:
    with pytest.raises(NotAuthorized):
        Authorized(ALICE, "sys:/", "sys.shutdown", SYSTEM, None, "", "", Seal())
    proof = ask(membrane(), ALICE, "sys.info", m.Nothing())
    with pytest.raises((TypeError, ValueError, NotAuthorized)):
        dataclasses.replace(proof, action="sys.shutdown")  # type: ignore[call-arg] # that is the point
    with pytest.raises(dataclasses.FrozenInstanceError):
        proof.action = "sys.shutdown"  # type: ignore[misc] # that is the point


def test_the_seal_is_named_by_the_membrane_alone_and_authorized_made_there_alone() -> None:
    named, made = set(), set()
    for path in ROOT_FOLDER.glob("*/**/*.py"):
        if path.relative_to(ROOT_FOLDER).parts[0] not in ("kernel", "drivers", "apps", "sandbox", "syscalls"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Name | ast.alias) and getattr(node, "id", getattr(node, "name", "")) == "SEAL":
                named.add(path.name)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Authorized":
                made.add(path.name)
    assert named == {"authority.py", "membrane.py"}
    assert made == {"membrane.py"}
