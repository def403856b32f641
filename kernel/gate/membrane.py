"""The membrane: the one place where a call is authorised.

It does not know sockets or what calls do. Rules:

- `Authorized` is made here and nowhere else, and performing a call needs one.
- Policies are asked about (principal, role, object, action): the action is the call's name, the object's
  name comes from the table of calls, the caller and the owner of the process, never from a field that the
  caller may write freely.
- Deny by default. A denial names the action, the object, the caller's role and the role that would allow
  it.
- Decisions are kept, in bounded number, for one epoch of the policy. One thread only.
"""

from __future__ import annotations

from dataclasses import InitVar, dataclass
from operator import attrgetter
from typing import Final, NamedTuple, Protocol, assert_never, final

from llmos.kernel.gate.principal import Principal, Rank
from llmos.kernel.gate.rules import Rules, role_of, subject_of
from llmos.syscalls.abi.errors import NoSuchProcess, PermissionDenied
from llmos.syscalls.abi.table import Call, Subject
from llmos.syscalls.abi.words import Pid, Record

SYSTEM_OBJECT = "sys:/"

_MOST_DECISIONS = 1 << 16
_pid_of: Final = attrgetter("pid")


class Owners(Protocol):
    """Who owns what."""

    def owner_of(self, pid: Pid) -> str | None:
        """The name of the principal that owns a process; None when there is no such process."""
        ...


class Seal:
    """What an `Authorized` cannot be made without; the membrane keeps the only one that counts."""


_SEAL: Final = Seal()


@final
@dataclass(frozen=True, slots=True)
class Authorized:
    """Proof that the membrane let a principal do `action` to `object`."""

    principal: Principal
    object: str
    action: str
    seal: InitVar[Seal]

    def __post_init__(self, seal: Seal) -> None:
        if seal is not _SEAL:
            raise TypeError("only the membrane makes an Authorized")


class _Question(NamedTuple):
    """A key of the decision cache: a tuple, because its hash is on the path of every call."""

    name: str
    rank: str
    object: str
    action: str


class Membrane:
    """Asks the policy, and remembers what it said."""

    def __init__(self, rules: Rules, owners: Owners) -> None:
        self._rules = rules
        self._owners = owners
        self._decisions: dict[_Question, Authorized | None] = {}

    def authorize(self, principal: Principal, object: str, action: str) -> Authorized:
        """Let the principal do this to the object. Raises `PermissionDenied`."""
        decision = self._decide(principal, object, action)
        if decision is None:
            raise self._denial(principal, object, action)
        return decision

    def authorize_call(self, principal: Principal, call: Call, request: Record) -> Authorized:
        """Let the principal make this call. Raises `PermissionDenied`, or `NoSuchProcess` for a pid nobody has."""
        return self.authorize(principal, self._object_of(principal, call, request), call.name)

    def authorize_process(self, principal: Principal, pid: Pid, action: str) -> Authorized:
        """Let the principal do this to one more process that a call names, as `spawn` its parent."""
        return self.authorize(principal, process_object(self._owner(pid), pid), action)

    def permits(self, principal: Principal, owner: str, action: str) -> bool:
        """Whether the principal may do this to all processes of `owner`: what listing shows."""
        return self._decide(principal, own_object(owner), action) is not None

    def replace(self, rules: Rules) -> None:
        """Take another policy from now on; what the old one said is forgotten."""
        self._rules = rules
        self._decisions.clear()

    def _object_of(self, principal: Principal, call: Call, request: Record) -> str:
        match call.subject:
            case Subject.PROCESS:
                pid = Pid(_pid_of(request))
                return process_object(self._owner(pid), pid)
            case Subject.OWN:
                return own_object(principal.name)
            case Subject.SYSTEM:
                return SYSTEM_OBJECT
            case _:
                assert_never(call.subject)

    def _owner(self, pid: Pid) -> str:
        owner = self._owners.owner_of(pid)
        if owner is None:
            raise NoSuchProcess(f"no process has the pid {pid}", "llmosctl ps shows those there are")
        return owner

    def _decide(self, principal: Principal, object: str, action: str) -> Authorized | None:
        question = _Question(principal.name, principal.rank.value, object, action)
        try:
            return self._decisions[question]
        except KeyError:
            allowed = self._allows(principal, principal.rank, object, action)
        if len(self._decisions) >= _MOST_DECISIONS:
            # The oldest half: pids are never reused, so most of it is of processes that are gone.
            for old in list(self._decisions)[: _MOST_DECISIONS // 2]:
                del self._decisions[old]
        decision = Authorized(principal, object, action, _SEAL) if allowed else None
        self._decisions[question] = decision
        return decision

    def _allows(self, principal: Principal, rank: Rank, object: str, action: str) -> bool:
        return self._rules.enforce(subject_of(principal.name), role_of(rank), object, action)

    def _denial(self, principal: Principal, object: str, action: str) -> PermissionDenied:
        roles = [rank for rank in Rank if self._allows(principal, rank, object, action)]
        remedy = f"the role {' or '.join(roles)} allows it" if roles else "no role allows it"
        return PermissionDenied(
            f"{principal.name} (role {principal.rank}) may not {action} on {object}; {remedy}",
            "ask an administrator of this daemon: the holder of its admin key, or whoever edits security.policy",
        )


def process_object(owner: str, pid: Pid) -> str:
    """The object's name of one process."""
    return f"proc:/{owner}/{pid}"


def own_object(owner: str) -> str:
    """The object's name of all processes of one principal."""
    return f"proc:/{owner}/*"
