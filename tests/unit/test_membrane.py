"""Who may do what, and that no other way leads in."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from pathlib import Path

import pytest

from llmos.kernel.gate.membrane import Authorized, Membrane, Seal
from llmos.kernel.gate.principal import Principal, Rank, check_name
from llmos.kernel.gate.rules import DEFAULT_MODEL, load_rules, matches
from llmos.syscalls.abi import messages as m
from llmos.syscalls.abi.errors import InvalidArgument, NoSuchProcess, PermissionDenied
from llmos.syscalls.abi.table import BY_NAME, CALLS, Call, Subject
from llmos.syscalls.abi.words import Pid, Record, Signal

ALICE, BOB, ROOT = Principal("alice", Rank.USER), Principal("bob", Rank.USER), Principal("root", Rank.ADMIN)
REQUESTS: dict[str, Record] = {
    "proc.signal": m.SendSignal(7, Signal.KILL),
    "proc.wait": m.Wait(7),
    "proc.fork": m.Fork(7),
    "proc.renice": m.Renice(7),
    "proc.limits": m.SetLimits(7),
    "proc.swap_out": m.SwapOut(7),
    "ctx.append": m.Append(7),
    "ctx.truncate": m.Truncate(7, 0),
    "ctx.rewind": m.Rewind(7, 0),
    "ctx.advise": m.Advise(7, True),
    "gen.generate": m.Generate(7),
}
"""A request about pid 7 for each call on a process that takes more than the pid."""


@dataclass
class Table:
    """Alice owns pid 7; everything else does not exist."""

    owner: str = "alice"

    def owner_of(self, pid: Pid) -> str | None:
        return self.owner if pid == 7 else None


def membrane(policy: str | None = None, folder: Path | None = None) -> Membrane:
    if policy is None or folder is None:
        return Membrane(load_rules(), Table())
    (folder / "policy.csv").write_text(policy)
    return Membrane(load_rules(policy=folder / "policy.csv"), Table())


def request_of(call: Call) -> Record:
    return REQUESTS.get(call.name) or (m.OnProcess(7) if call.subject is Subject.PROCESS else m.Nothing())


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_admins_may_all_and_users_what_is_theirs(call: Call) -> None:
    gate, request = membrane(), request_of(call)
    assert gate.authorize_call(ROOT, call, request).action == call.name
    if call.subject is Subject.PROCESS:
        assert gate.authorize_call(ALICE, call, request).object == "proc:/alice/7"
        with pytest.raises(PermissionDenied):
            gate.authorize_call(BOB, call, request)
    elif call.subject is Subject.OWN:
        assert gate.authorize_call(BOB, call, request).object == "proc:/bob/*"
    elif call.name == "sys.info":
        gate.authorize_call(BOB, call, request)
    else:
        with pytest.raises(PermissionDenied):
            gate.authorize_call(BOB, call, request)


def test_a_denial_says_what_who_and_which_role_would_do() -> None:
    with pytest.raises(PermissionDenied) as refused:
        membrane().authorize(BOB, "proc:/alice/7", "proc.info")
    for word in ("bob", "role user", "proc.info", "proc:/alice/7", "the role admin allows it"):
        assert word in refused.value.message
    assert "administrator" in refused.value.hint


def test_an_unknown_pid_is_no_such_process_for_everybody() -> None:
    for principal in (ALICE, ROOT):
        with pytest.raises(NoSuchProcess):
            membrane().authorize_call(principal, BY_NAME["proc.info"], m.OnProcess(8))


def test_a_further_pid_is_checked_like_the_first() -> None:
    gate = membrane()
    assert gate.authorize_process(ALICE, Pid(7), "proc.spawn").object == "proc:/alice/7"
    with pytest.raises(PermissionDenied):
        gate.authorize_process(BOB, Pid(7), "proc.spawn")
    with pytest.raises(NoSuchProcess):
        gate.authorize_process(BOB, Pid(8), "proc.spawn")


def test_listing_shows_ones_own_and_to_admins_everybodys() -> None:
    gate = membrane()
    assert gate.permits(ALICE, "alice", "proc.list")
    assert not gate.permits(ALICE, "bob", "proc.list")
    assert gate.permits(ROOT, "bob", "proc.list")


def test_nobody_else_makes_an_authorized() -> None:
    with pytest.raises(TypeError):
        Authorized(ALICE, "sys:/", "sys.shutdown", Seal())
    proof = membrane().authorize(ALICE, "sys:/", "sys.info")
    with pytest.raises((TypeError, ValueError)):
        dataclasses.replace(proof, action="sys.shutdown")  # type: ignore[call-arg] # that is the point
    with pytest.raises(dataclasses.FrozenInstanceError):
        proof.action = "sys.shutdown"  # type: ignore[misc] # that is the point
    assert copy.copy(proof) == proof


def test_a_name_that_looks_like_a_role_gains_nothing() -> None:
    impostor = Principal("admin", Rank.USER)
    with pytest.raises(PermissionDenied):
        membrane().authorize(impostor, "sys:/", "sys.shutdown")


@pytest.mark.parametrize("name", ["", "*", "a/b", "../x", "$self", "a*", "kernel", "x" * 65, "a b", "-a"])
def test_a_principals_name_holds_nothing_that_patterns_mean(name: str) -> None:
    with pytest.raises(InvalidArgument):
        check_name(name)


def test_a_deny_outweighs_every_allow(tmp_path: Path) -> None:
    rules = "p, role:admin, **, **, allow\np, principal:root, sys:/, sys.shutdown, deny\n"
    gate = membrane(rules, tmp_path)
    gate.authorize(ROOT, "sys:/", "sys.drain")
    with pytest.raises(PermissionDenied) as refused:
        gate.authorize(ROOT, "sys:/", "sys.shutdown")
    assert "no role allows it" in refused.value.message


def test_roles_are_given_by_policy_too(tmp_path: Path) -> None:
    rules = "p, role:auditor, sys:/, sys.metrics, allow\ng, principal:bob, role:auditor\n"
    gate = membrane(rules, tmp_path)
    gate.authorize(BOB, "sys:/", "sys.metrics")
    with pytest.raises(PermissionDenied):
        gate.authorize(ALICE, "sys:/", "sys.metrics")


def test_a_new_policy_holds_at_once(tmp_path: Path) -> None:
    gate = membrane()
    gate.authorize(ALICE, "sys:/", "sys.info")
    (tmp_path / "none.csv").write_text("p, role:admin, **, **, allow\n")
    gate.replace(load_rules(policy=tmp_path / "none.csv"))
    with pytest.raises(PermissionDenied):
        gate.authorize(ALICE, "sys:/", "sys.info")


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ("p, role:admin, **, **, alow", "allow or deny"),
        ("p, role:admin, **, **", "4 fields"),
        ("P, role:admin, **, **, allow", "begins with p or g"),
        ("# fine\ng, principal:bob", "2 fields"),
        ("p, role:admin, , **, allow", "4 fields"),
    ],
)
def test_a_broken_policy_is_refused_with_its_line(tmp_path: Path, rules: str, reason: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        membrane(rules, tmp_path)
    assert reason in refused.value.message
    assert f"policy.csv:{len(rules.splitlines())}" in refused.value.message


@pytest.mark.parametrize(
    "change",
    [
        ("matches(r.obj", "mtches(r.obj"),
        ("[matchers]", "[nothing]"),
        ("r = sub, role, obj, act", "r = sub, obj, act"),
        ("m = ", "m "),
        ("e = some", "e = any"),
    ],
    ids=["unknown function", "no matcher", "too short a request", "no equals sign", "unknown effect"],
)
def test_a_broken_model_is_refused(tmp_path: Path, change: tuple[str, str]) -> None:
    text = DEFAULT_MODEL.read_text()
    assert change[0] in text
    (tmp_path / "model.conf").write_text(text.replace(*change))
    with pytest.raises(InvalidArgument):
        load_rules(model=tmp_path / "model.conf")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument):
        load_rules(policy=tmp_path / "absent.csv")


@pytest.mark.parametrize(
    ("name", "pattern", "fits"),
    [
        ("proc:/alice/7", "proc:/$self/*", True),
        ("proc:/alice/*", "proc:/$self/*", True),
        ("proc:/bob/7", "proc:/$self/*", False),
        ("proc:/alicexx/7", "proc:/$self/*", False),
        ("fs:/home/alice/a/b", "fs:/home/alice/*", False),
        ("fs:/home/alice/a/b", "fs:/home/alice/**", True),
        ("proc.info", "proc.*", True),
        ("procxinfo", "proc.*", False),
    ],
)
def test_patterns_keep_to_their_segment(name: str, pattern: str, fits: bool) -> None:
    assert matches(name, pattern, "principal:alice") is fits
