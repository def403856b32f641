"""Who may do what under the shipped roles, as one table. `python -m llmos.kernel.security.matrix`

Made from the table of calls, the shipped policy and the membrane itself. The page `docs/permissions.md` holds its
output; a test compares them, and another asks every cell over real sockets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import count

from msgspec import Raw

from llmos.kernel.core.principal import SYSTEM, Principal
from llmos.kernel.security.identity.registry import Identity
from llmos.kernel.security.membrane import Denied, Membrane
from llmos.kernel.security.names import FilePath
from llmos.kernel.security.objects import Owner
from llmos.kernel.security.policy.decisions import SHIPPED_ROLES, Policy
from llmos.kernel.security.policy.document import parse, read_sources
from llmos.syscalls.abi import apps as a
from llmos.syscalls.abi import encoders as e
from llmos.syscalls.abi import files as f
from llmos.syscalls.abi import mail
from llmos.syscalls.abi import memory as mem
from llmos.syscalls.abi import messages as m
from llmos.syscalls.abi import security as s
from llmos.syscalls.abi import tools as t
from llmos.syscalls.abi.errors import Error
from llmos.syscalls.abi.table import CALLS, Call, Subject
from llmos.syscalls.abi.words import KeyKind, Pid, Record, Signal

ROLES = ("admin", "operator", "developer", "app", "auditor", "viewer")
TENANT, OTHER_TENANT = "acme", "beta"
COLLEAGUE, STRANGER = Principal("colleague", "developer", TENANT), Principal("stranger", "developer", OTHER_TENANT)


class Whose(StrEnum):
    """Whose object a call is about: the caller's, of another in its tenant, of somebody in another tenant."""

    OWN = "own"
    SAME = "same tenant"
    OTHER = "other tenant"


APPS = {
    Whose.SAME: Principal("colleagues_app", "app-colleagues-app", TENANT, KeyKind.APP),
    Whose.OTHER: Principal("strangers_app", "app-strangers-app", OTHER_TENANT, KeyKind.APP),
}
"""An app of each tenant."""

_BODY = Raw(b"\xc0")
SPARE_KEY = "0" * 40
"""A public key that nobody has."""


class Cell(StrEnum):
    """What happens: it is allowed, it is denied, it is told as not existing, or there is no such call."""

    ALLOWED = "+"
    DENIED = "-"
    HIDDEN = "?"
    NONE = "."


@dataclass(frozen=True, slots=True)
class Case:
    """A call about somebody's object."""

    call: Call
    whose: Whose
    request: Record


@dataclass(frozen=True, slots=True)
class Pids:
    """A process of each."""

    own: Pid
    same: Pid
    other: Pid

    def of(self, whose: Whose) -> Pid:
        """The process of one of them."""
        return {Whose.OWN: self.own, Whose.SAME: self.same, Whose.OTHER: self.other}[whose]


def callers() -> tuple[Principal, ...]:
    """One caller of each role, in one tenant, and the administrator of all."""
    return (*(Principal(f"some-{role}", role, TENANT) for role in ROLES), Principal("root", "admin", SYSTEM))


def cases(caller: Principal, pids: Pids) -> Iterator[Case]:
    """Every call, about everybody's object that it can be about."""
    names = {Whose.OWN: caller.name, Whose.SAME: COLLEAGUE.name, Whose.OTHER: STRANGER.name}
    for call in CALLS:
        for whose in Whose:
            request = _request(call, whose, pids.of(whose), names[whose])
            if request is not None:
                yield Case(call, whose, request)


def matrix() -> str:
    """The page."""
    people = callers()
    lines = [
        "# Who may do what",
        "",
        "Under the shipped roles, for a caller of each role in one tenant; the last column is an administrator of the",
        "tenant `system`. Three signs a cell: about one's own, about another's in the same tenant, about one in",
        "another tenant. `+` allowed, `-` denied, `?` told as not existing, `.` no such call. What belongs to the",
        "daemon itself (`sys:/`, `policy:/`, the server key) stands in the third place, what is the same for all",
        "tenants (`model:/`) in the first.",
        "",
        "Made by `python -m llmos.kernel.security.matrix`; a test compares this page with its output, and another asks",
        "every cell of a running gate.",
        "",
        f"| call | {' | '.join([*ROLES, 'admin of system'])} |",
        f"| --- |{' --- |' * len(people)}",
    ]
    answers = {person: _answers(person) for person in people}
    for call in CALLS:
        cells = ("".join(answers[person][call.name, whose] for whose in Whose) for person in people)
        lines.append(f"| `{call.name}` | {' | '.join(f'`{cell}`' for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _answers(caller: Principal) -> dict[tuple[str, Whose], Cell]:
    world = _World(caller)
    numbers = count()
    membrane = Membrane(Policy(parse(read_sources(SHIPPED_ROLES))), world, world, lambda: str(next(numbers)))
    answers = {(call.name, whose): Cell.NONE for call in CALLS for whose in Whose}
    for case in cases(caller, world.pids):
        answers[case.call.name, case.whose] = _ask(membrane, caller, case)
    return answers


def _ask(membrane: Membrane, caller: Principal, case: Case) -> Cell:
    try:
        membrane.authorize_call(caller, case.call, case.request)
    except Denied as denied:
        return Cell.HIDDEN if denied.denial.hidden else Cell.DENIED
    except Error as error:
        raise AssertionError(f"{case.call.name}: {error}") from None
    return Cell.ALLOWED


class _World:
    """Everybody of the matrix has a key and a process."""

    default_model = "model"
    default_encoder = "encoder"

    def __init__(self, caller: Principal) -> None:
        self._people = (caller, COLLEAGUE, STRANGER)
        self.pids = Pids(Pid(2), Pid(3), Pid(4))

    def owner_of(self, pid: Pid) -> Owner | None:
        """The first has process 2, the second 3, the third 4."""
        person = self._people[pid - 2]
        return Owner(person.name, person.tenant)

    def mailbox_of(self, pid: Pid) -> Owner | None:
        return self.owner_of(pid)

    def file_of(self, descriptor: int) -> FilePath | None:
        """Everybody has a file open under the number of their process."""
        return FilePath(self._people[descriptor - 2].name, ("file",))

    def named(self, name: str) -> Identity | None:
        """Everybody's identity."""
        there = (*self._people, *APPS.values())
        return next((Identity(who, SPARE_KEY, 0.0) for who in there if who.name == name), None)

    def admins(self, tenant: str) -> tuple[str, ...]:
        """Nobody needs to be asked."""
        return ()


def _request(call: Call, whose: Whose, pid: Pid, name: str) -> Record | None:
    """A request about somebody's object; None when the call cannot be about it."""
    match call.subject:
        case Subject.PROCESS:
            return _on_process(call, pid)
        case Subject.MAILBOX:
            return _on_mailbox(call, pid)
        case Subject.DESCRIPTOR:
            return _on_descriptor(call, pid)
        case Subject.FILE:
            return _on_file(call, f"/home/{name}/file")
        case Subject.MEMORY:
            return _in_memory(call, f"{name}/notes")
        case Subject.TOPIC | Subject.TOOL:
            return _named(call, f"{name}/thing", pid)
        case Subject.OWN | Subject.SELF | Subject.TOOLS | Subject.MODEL:
            return _own(call) if whose is Whose.OWN else None
        case Subject.SYSTEM | Subject.POLICY | Subject.SERVER_KEY:
            return _of_daemon(call) if whose is Whose.OTHER else None
        case Subject.KEY | Subject.KEYS | Subject.AUDIT:
            return _of_tenant(call, whose, name)
        case Subject.APP | Subject.NEW_APP | Subject.APPS:
            return _about_app(call, whose)


def _about_app(call: Call, whose: Whose) -> Record | None:
    """Apps belong to a tenant, and to nobody in it."""
    match call.name:
        case "app.list":
            return call.request() if whose is Whose.SAME else None
        case "app.check" | "app.install" if whose is not Whose.OWN:
            return call.request(name="new", archive=b"", tenant=APPS[whose].tenant)
        case "app.input" if whose is not Whose.OWN:
            return a.AppInput(APPS[whose].name, 1)
        case _:
            return call.request(name=APPS[whose].name) if whose is not Whose.OWN else None


def _on_process(call: Call, pid: Pid) -> Record:
    match call.name:
        case "proc.signal":
            return m.SendSignal(pid, Signal.STOP)
        case "ctx.append":
            return m.Append(pid, tokens=(1,))
        case "ctx.truncate":
            return m.Truncate(pid, 0)
        case "ctx.rewind":
            return m.Rewind(pid, 0)
        case "ctx.advise":
            return m.Advise(pid, True)
        case "ipc.send":
            return mail.Send(pid, _BODY)
        case _:
            return call.request(pid=pid)


def _on_mailbox(call: Call, pid: Pid) -> Record:
    return mail.Acknowledge((1,), pid) if call.name == "ipc.acknowledge" else call.request(pid=pid)


def _on_descriptor(call: Call, descriptor: int) -> Record:
    match call.name:
        case "fs.write":
            return f.FileWrite(descriptor, b"")
        case "fs.seek":
            return f.FileSeek(descriptor, 0)
        case _:
            return call.request(fd=descriptor)


def _on_file(call: Call, path: str) -> Record:
    match call.name:
        case "fs.rename":
            return f.FileRename(path, path)
        case "fs.restore":
            return f.FileRestore(path, 1)
        case _:
            return call.request(path=path)


def _in_memory(call: Call, namespace: str) -> Record:
    match call.name:
        case "mem.put":
            return mem.MemoryPut("text", namespace)
        case "mem.search":
            return mem.MemorySearch("text", namespace)
        case "mem.rollback":
            return mem.MemoryRollback("1", 1, namespace)
        case "mem.get" | "mem.history":
            return call.request(id="1", namespace=namespace)
        case _:
            return call.request(namespace=namespace)


def _named(call: Call, name: str, pid: Pid) -> Record:
    match call.name:
        case "ipc.publish":
            return mail.Publish(name, _BODY)
        case "ipc.subscribe":
            return mail.Subscribe(name)
        case "ipc.unsubscribe":
            return mail.Unsubscribe(name, pid)
        case "tool.answer":
            return t.ToolAnswer(name, 1)
        case _:
            return call.request(name=name)


def _own(call: Call) -> Record:
    match call.name:
        case "sec.can":
            return s.Can("sys:/", "sys.info")
        case "sec.why_denied":
            return s.WhyDenied("0")
        case "gen.embed":
            return e.Embed(("text",))
        case "gen.classify":
            return e.Classify(("text",), ("one", "other"))
        case _:
            return call.request()


def _of_daemon(call: Call) -> Record:
    match call.name:
        case "sec.key_rotate":
            return s.RotateServerKey(1e6)
        case "sec.policy_check":
            return s.CheckPolicy("somebody", "sys.info", "sys:/", role="viewer", tenant=TENANT)
        case "sec.policy_apply":
            return s.ApplyPolicy("own.csv", "", dry_run=True)
        case "sec.policy_diff":
            return s.DiffPolicy(())
        case "sec.policy_learn":
            return s.LearnPolicy("somebody")
        case _:
            return call.request()


def _of_tenant(call: Call, whose: Whose, name: str) -> Record | None:
    tenant = OTHER_TENANT if whose is Whose.OTHER else TENANT
    match call.name:
        case "sec.key_revoke":
            return s.RevokeKey(name) if whose is not Whose.OWN else None
        case "sec.key_create" if whose is not Whose.OWN:
            return s.CreateKey(f"new-{tenant}", "viewer", SPARE_KEY, tenant)
        case "sec.key_list" if whose is not Whose.OWN:
            return s.ListKeys(tenant)
        case "sec.audit_read" if whose is not Whose.OWN:
            return s.ReadAudit(tenant=tenant)
        case "sec.audit_verify" if whose is Whose.OTHER:
            return m.Nothing()
        case _:
            return None


if __name__ == "__main__":
    print(matrix(), end="")
