"""The membrane: the one place where anything that is done on somebody's behalf is authorised.

It does not know sockets or what calls do. Rules:

- `Authorized` is made here and nowhere else.
- The policy is asked about the caller, its role where the object is, the object, the action and what the call asks for:
  all from the key of the connection, the table of calls and the kernel's own records.
- Deny by default. A denial is a `Denied` that carries the error to tell and the record to keep.
- Decisions are kept, in bounded number, for one epoch of the policy; a decision about what is hidden or missing is not
  kept, so that the two take the same way and the same time. One thread only.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from llmos.kernel.core.authority import SEAL, Authorized
from llmos.kernel.core.principal import SYSTEM, Principal
from llmos.kernel.core.sharing import Breadth, ShareScope
from llmos.kernel.security.denial import Denial, no_such, reason_of
from llmos.kernel.security.objects import (
    Holders,
    Owner,
    Owners,
    Target,
    attributes_of,
    owner_of,
    process_target,
    share_target,
    target_of,
)
from llmos.kernel.security.policy.attributes import parse_attributes
from llmos.kernel.security.policy.conditions import NOTHING, Attributes, Circumstances, at
from llmos.kernel.security.policy.decisions import Decision, Policy, Question
from llmos.kernel.security.policy.vocabulary import SHARE
from llmos.syscalls.abi.table import Call, Subject
from llmos.syscalls.abi.words import Pid, Record

_SEE = "proc.info"
_MOST_DECISIONS = 1 << 16

_MOST_NAMED = 5
"""Roles and contacts that a denial names: somebody reads it, and one record of the audit log keeps it."""

Kept = TypeVar("Kept")

_Key = tuple[str, str, str, str, str, object, object]
"""Of the decision cache: a tuple, because its hash is on the path of every call."""


class Denied(Exception):
    """The policy says no."""

    def __init__(self, denial: Denial) -> None:
        super().__init__(denial.id)
        self.denial = denial


class Membrane:
    """Asks the policy, and remembers what it said."""

    def __init__(
        self,
        policy: Policy,
        owners: Owners,
        holders: Holders,
        new_id: Callable[[], str],
        clock: Callable[[], datetime] = datetime.now,
    ) -> None:
        self.policy = policy
        self.owners = owners
        self.holders = holders
        self.epoch = 0
        self._new_id = new_id
        self._clock = clock
        self._slot = policy.slot(clock())
        self._decisions: dict[_Key, Authorized | Denial] = {}
        self._permitted: dict[_Key, bool] = {}

    def authorize(
        self, principal: Principal, object: str, action: str, tenant: str = SYSTEM, attributes: Attributes = NOTHING
    ) -> Authorized:
        """Let the principal do this to an object of a tenant. Raises `Denied`."""
        return self._authorize(principal, Target(object, tenant), action, attributes)

    def authorize_call(self, principal: Principal, call: Call, request: Record) -> Authorized:
        """Let the principal make this call. Raises `Denied`, and the abi error of an object that does not exist."""
        attributes = attributes_of(request, self.owners)
        if call.subject is Subject.PROCESS and attributes is NOTHING and not self.policy.boundaries:
            # The way of nearly every call: what was decided about this process holds.
            pid = request.pid  # type: ignore[attr-defined] # the table says so, and a test walks it
            known = self._decisions.get(
                (principal.name, principal.role, principal.tenant, principal.kind, call.name, pid, None)
            )
            if type(known) is Authorized:
                return known
        target = target_of(principal, call, request, self.owners, self.holders)
        return self._authorize(principal, target, call.name, attributes)

    def authorize_again(self, authorized: Authorized) -> None:
        """Whether what was let in may go on under the policy in force. Raises `Denied`."""
        who, owner = authorized.principal, Owner(authorized.owner or authorized.principal.name, authorized.tenant)
        target = Target(authorized.object, authorized.tenant, authorized.pid, owner)
        self._authorize(who, target, authorized.action, parse_attributes(authorized.attributes))

    def authorize_process(self, principal: Principal, pid: Pid, action: str) -> Authorized:
        """Let the principal do this to one more process that a call names, as `spawn` its parent."""
        return self._authorize(principal, process_target(pid, owner_of(pid, action, self.owners)), action, NOTHING)

    def authorize_target(self, principal: Principal, target: Target, action: str) -> Authorized:
        """Let the principal do this to one more object that a call names, as `fs.rename` where the file goes."""
        return self._authorize(principal, target, action, NOTHING)

    def permits(self, principal: Principal, target: Target, action: str) -> bool:
        """Whether the principal may do this; nothing is done, so a no is no denial. Asked before what is shown is."""
        self._go_with_the_time()
        key = _key(principal, action, target.object, NOTHING)
        known = self._permitted.get(key)
        if known is None:
            known = self._permitted[key] = self.ask(principal, target, action).allowed
            _forget_oldest(self._permitted)
        return known

    def ask(self, principal: Principal, target: Target, action: str, attributes: Attributes = NOTHING) -> Decision:
        """What the policy says, without the right to do anything."""
        return self.policy.decide(self.question(principal, target, action, attributes))

    def share_scope(self, principal: Principal) -> ShareScope:
        """With whom a new process of the principal shares prefixes: as many as the policy lets it."""
        for breadth in (Breadth.PUBLIC, Breadth.TENANT, Breadth.ROLE, Breadth.PRINCIPAL):
            if self.permits(principal, share_target(breadth.value, principal), SHARE):
                return ShareScope(breadth, principal.tenant, principal.role, principal.name)
        return ShareScope(Breadth.PRIVATE)

    def question(self, principal: Principal, target: Target, action: str, attributes: Attributes) -> Question:
        """The question as the policy takes it, now."""
        minute, weekday = at(self._clock())
        circumstances = Circumstances(attributes, principal.kind, minute, weekday)
        return Question(principal, target.tenant, target.object, action, circumstances)

    def replace(self, policy: Policy) -> None:
        """Take another policy from now on; what the old one said is forgotten."""
        self.policy = policy
        self.epoch += 1
        self._slot = policy.slot(self._clock())
        self._forget()

    def _go_with_the_time(self) -> None:
        """Forget what was decided when rules that ask for the time may say something else by now."""
        if not self.policy.boundaries:
            return
        slot = self.policy.slot(self._clock())
        if slot != self._slot:
            self._slot = slot
            self._forget()

    def _authorize(self, principal: Principal, target: Target, action: str, attributes: Attributes) -> Authorized:
        decided = self._decide(principal, target, action, attributes)
        if isinstance(decided, Denial):
            raise Denied(decided)
        if target.missing:
            raise no_such(target)
        return decided

    def _decide(self, principal: Principal, target: Target, action: str, attributes: Attributes) -> Authorized | Denial:
        self._go_with_the_time()
        key = _key(principal, action, target.object if target.pid is None else target.pid, attributes)
        known = self._decisions.get(key)
        if known is not None:
            return known
        question = self.question(principal, target, action, attributes)
        decided: Authorized | Denial
        if self.policy.decide(question).allowed:
            decided = self._allow(principal, target, action, attributes)
        else:
            decided = self._deny(question, target)
        if not target.missing and not (isinstance(decided, Denial) and decided.hidden):
            self._decisions[key] = decided
            _forget_oldest(self._decisions)
        return decided

    def _allow(self, principal: Principal, target: Target, action: str, attributes: Attributes) -> Authorized:
        foreign = target.owner is not None and target.owner.name != principal.name
        owner = target.owner.name if foreign and target.owner is not None else ""
        words = attributes.text()
        return Authorized(principal, target.object, action, target.tenant, target.pid, owner, words, SEAL)

    def _deny(self, question: Question, target: Target) -> Denial:
        if self._hidden(question.principal, target):
            return Denial(self._new_id(), question, target, hidden=True)
        return Denial(
            id=self._new_id(),
            question=question,
            target=target,
            reason=reason_of(self.policy.considered(question)),
            roles=self.policy.roles_that_may(question)[:_MOST_NAMED],
            contacts=self.holders.admins(question.principal.tenant)[:_MOST_NAMED],
        )

    def _hidden(self, principal: Principal, target: Target) -> bool:
        """Another tenant's, and the caller may not even see it; what nobody has is as hidden.

        Administrators of all tenants are no secret: they are whom one asks.
        """
        if target.owner is None or target.tenant in (principal.tenant, SYSTEM):
            return False
        return target.pid is None or not self.ask(principal, target, _SEE).allowed

    def _forget(self) -> None:
        self._decisions.clear()
        self._permitted.clear()


def _forget_oldest(decisions: dict[_Key, Kept]) -> None:
    """Keep the number bounded: pids are never reused, so most of the oldest half is of processes that are gone."""
    if len(decisions) > _MOST_DECISIONS:
        for old in list(decisions)[: _MOST_DECISIONS // 2]:
            del decisions[old]


def _key(principal: Principal, action: str, what: object, attributes: Attributes) -> _Key:
    asked = attributes if attributes is not NOTHING else None
    return principal.name, principal.role, principal.tenant, principal.kind, action, what, asked
