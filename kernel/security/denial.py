"""A no of the policy, and how the caller is told.

Rules: what belongs to another tenant and cannot be seen is told as what does not exist; any other denial names the
action, the object, the rule, the role that would allow it, whom to ask, and an id under which it can be shown again.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmos.kernel.security.objects import UNKNOWN_DESCRIPTOR, Target
from llmos.kernel.security.policy.decisions import Considered, Question
from llmos.kernel.security.policy.document import Effect
from llmos.syscalls.abi.errors import Error, NoSuchProcess, NotFound, PermissionDenied
from llmos.syscalls.abi.words import Pid


@dataclass(frozen=True, slots=True, eq=False)
class Denial:
    """One decision against a caller. `hidden`: it must not learn that the object exists."""

    id: str
    question: Question
    target: Target
    reason: str = ""
    roles: tuple[str, ...] = ()
    contacts: tuple[str, ...] = ()
    hidden: bool = False

    def error(self) -> Error:
        """What the caller is told."""
        if self.hidden:
            return no_such(self.target)
        who = self.question.principal
        remedy = f"the role {' or '.join(self.roles)} may" if self.roles else "no role may"
        return PermissionDenied(
            f"{who.name} (role {who.role}, tenant {who.tenant}) may not {self.question.action} {self.target.object}: "
            f"{self.reason}; {remedy}",
            f"ask {' or '.join(self.contacts) or 'an administrator'}; llmosctl why-denied {self.id}",
        )

    def record(self) -> str:
        """Reason, roles and contacts as the audit log keeps them; `Told.read` reads it."""
        return "; ".join((self.reason, f"roles: {' '.join(self.roles)}", f"ask: {' '.join(self.contacts)}"))


@dataclass(frozen=True, slots=True)
class Told:
    """What a denial said beside who and what."""

    reason: str
    roles: tuple[str, ...]
    contacts: tuple[str, ...]

    @classmethod
    def read(cls, record: str) -> Told:
        """From the detail of an audit record."""
        reason, _, rest = record.partition("; roles: ")
        roles, _, contacts = rest.partition("; ask: ")
        return cls(reason, tuple(roles.split()), tuple(contacts.split()))


def no_such(target: Target) -> Error:
    """The error of an object that does not exist, or that the caller may not know of."""
    if target.pid is not None:
        return no_such_process(target.pid)
    kind, _, rest = target.object.partition(":/")
    if kind == "key":
        return no_such_key(rest.rpartition("/")[2])
    if rest.startswith(UNKNOWN_DESCRIPTOR):
        number = rest.removeprefix(UNKNOWN_DESCRIPTOR)
        return NotFound(f"no file is open under the descriptor {number}", "open it; a descriptor ends with its process")
    return NotFound(f"there is no {_KINDS.get(kind, kind)} {rest!r}", "look at its name again")


_KINDS = {"mem": "memory", "fs": "file", "topic": "topic", "tool": "tool"}
"""What objects are called, by the first part of their names."""


def no_such_process(pid: Pid) -> NoSuchProcess:
    """The error of a pid that nobody has, or that the caller may not know of."""
    return NoSuchProcess(f"no process has the pid {pid}", "llmosctl ps shows those there are")


def no_such_key(name: str) -> NotFound:
    """The error of a key that does not exist, or that the caller may not know of."""
    return NotFound(f"there is no key named {name!r}", "llmosctl key list")


def reason_of(considered: list[Considered]) -> str:
    """Why the answer was no, from the rules that were about the question."""
    for found in considered:
        if found.rule.effect is Effect.DENY and found.unmet is None:
            return f"{found.rule.place} denies it"
    bounds = [
        f"{found.rule.place} allows it only with {found.unmet.text}"
        for found in considered
        if found.unmet is not None and found.rule.effect is Effect.ALLOW
    ]
    return " and ".join(bounds) or "no rule allows it"
