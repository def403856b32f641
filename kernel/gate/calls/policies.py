"""The calls of policy authors: what holds, what it says, what a change would do, and changing it.

Rule: questions about many recorded calls are answered beside the loop, by a policy of their own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from llmos.kernel.core.authority import Authorized
from llmos.kernel.core.principal import DEFAULT_TENANT, Principal, check_name
from llmos.kernel.gate.calls.beside import Reader, in_loop
from llmos.kernel.gate.calls.handler import Handler, row
from llmos.kernel.gate.channel import Channel
from llmos.kernel.gate.keeper import PolicyKeeper
from llmos.kernel.gate.recorder import Recorder
from llmos.kernel.security.audit.reading import since
from llmos.kernel.security.audit.record import AuditRecord, Kind
from llmos.kernel.security.identity.keyring import Keyring
from llmos.kernel.security.membrane import Membrane
from llmos.kernel.security.objects import named_target
from llmos.kernel.security.policy.attributes import parse_attributes
from llmos.kernel.security.policy.conditions import at
from llmos.kernel.security.policy.decisions import Considered, Policy, Question
from llmos.kernel.security.policy.difference import Changed, difference
from llmos.kernel.security.policy.learn import learn
from llmos.kernel.security.policy.recorded import RecordedCall
from llmos.kernel.security.policy.store import FileChange
from llmos.syscalls.abi import messages as m
from llmos.syscalls.abi import security as s
from llmos.syscalls.abi.errors import NotFound

MOST_CHANGED = 1000
"""Changed answers that one reply has at most."""

_DAY = 86_400.0


class PolicyCalls:
    """One method per call. `log` is the folder of the audit log."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        keeper: PolicyKeeper,
        membrane: Membrane,
        keyring: Keyring,
        recorder: Recorder,
        reader: Reader,
        log: Path,
    ) -> None:
        self._loop = loop
        self._keeper = keeper
        self._membrane = membrane
        self._keyring = keyring
        self._recorder = recorder
        self._reader = reader
        self._log = log

    def handlers(self) -> dict[str, Handler]:
        """By the names of the calls."""
        return dict(
            (
                row("sec.policy_show", m.Nothing, self.show),
                row("sec.policy_check", s.CheckPolicy, self.check),
                row("sec.policy_apply", s.ApplyPolicy, self.apply),
                row("sec.policy_diff", s.DiffPolicy, self.diff),
                row("sec.policy_learn", s.LearnPolicy, self.learn),
            )
        )

    def show(self, by: Authorized, request: m.Nothing, channel: Channel) -> None:
        store = self._keeper.store
        sources = self._membrane.policy.document.sources
        files = tuple(s.PolicyFile(source.name, source.text, store.shipped(source.name)) for source in sources)
        channel.reply(s.PolicyInForce(files, self._membrane.epoch))

    def check(self, by: Authorized, request: s.CheckPolicy, channel: Channel) -> None:
        channel.reply(answer(self._membrane.policy, self._question(request)))

    def _question(self, request: s.CheckPolicy) -> Question:
        identity = self._keyring.named(request.principal)
        if identity is None and request.role is None:
            raise NotFound(f"nobody here is named {request.principal!r}", "say --role and --tenant to ask all the same")
        known = identity.principal if identity is not None else Principal(request.principal, "", DEFAULT_TENANT)
        who = Principal(check_name(known.name), request.role or known.role, request.tenant or known.tenant, known.kind)
        target = named_target(request.object, who, self._keyring)
        return self._membrane.question(who, target, request.action, parse_attributes(request.attributes))

    def apply(self, by: Authorized, request: s.ApplyPolicy, channel: Channel) -> None:
        change = FileChange(request.name, request.text)
        if request.dry_run:
            in_loop(self._loop, self._keeper.propose(change), lambda said: channel.reply(said[1]), channel)
            return

        def applied(said: s.PolicyChange) -> None:
            detail = f"{request.name}: {len(said.added)} lines added, {len(said.removed)} removed"
            self._recorder.commit(Kind.POLICY, by, detail, said, channel)

        in_loop(self._loop, self._keeper.apply(change, by.principal, request.epoch), applied, channel)

    def diff(self, by: Authorized, request: s.DiffPolicy, channel: Channel) -> None:
        changes = [FileChange(file.name, file.text) for file in request.files]
        work = self._difference(changes, time.time() - request.days * _DAY)
        self._reader.read(by, work, channel.reply, channel)

    def _difference(self, changes: Sequence[FileChange], start: float) -> Callable[[], s.PolicyDifference]:
        def work() -> s.PolicyDifference:
            policy = self._keeper.store.compile(changes)
            asked, changed = difference(self._recorded(start, timed=bool(policy.boundaries)), policy)
            return s.PolicyDifference(asked, tuple(map(_changed, changed[:MOST_CHANGED])))

        return work

    def learn(self, by: Authorized, request: s.LearnPolicy, channel: Channel) -> None:
        start, role = time.time() - request.days * _DAY, check_name(request.principal)

        def work() -> s.LearntPolicy:
            calls = [call for call in self._recorded(start) if call.principal.name == request.principal]
            text = "".join(f"{rule}\n" for rule in learn(calls, role))
            return s.LearntPolicy(role, text, sum(call.count for call in calls if call.allowed))

        self._reader.read(by, work, channel.reply, channel)

    def _recorded(self, start: float, timed: bool = False) -> Iterator[RecordedCall]:
        """The calls since a moment; with their times only where those matter, because the same call is asked once."""
        for record in since(self._log, start):
            if record.kind in (Kind.CALL, Kind.DENIAL, Kind.KEY, Kind.POLICY) and record.action and record.object:
                yield self._recorded_call(record, timed)

    def _recorded_call(self, record: AuditRecord, timed: bool) -> RecordedCall:
        identity = self._keyring.named(record.principal)
        known = identity.principal if identity is not None else Principal(record.principal, record.role)
        minute, weekday = at(datetime.fromtimestamp(record.at)) if timed else (0, 0)
        return RecordedCall(
            principal=Principal(record.principal, record.role, record.tenant, known.kind),
            tenant=record.object_tenant,
            object=record.object,
            action=record.action,
            attributes=record.attributes,
            allowed=record.kind is not Kind.DENIAL,
            count=record.count,
            minute=minute,
            weekday=weekday,
        )


def answer(policy: Policy, question: Question) -> s.Answer:
    """Everything that the policy can say about a question."""
    decision, considered = policy.decide(question), policy.considered(question)
    rule = decision.rule
    return s.Answer(
        allowed=decision.allowed,
        rule=str(rule or ""),
        place=str(rule.place) if rule is not None else "",
        tenant=question.tenant,
        roles=policy.roles_that_may(question),
        held=policy.grants.held(question.caller, question.tenant),
        considered=tuple(map(_considered, considered)),
    )


def _considered(found: Considered) -> s.ConsideredRule:
    unmet = found.unmet.text if found.unmet is not None else ""
    return s.ConsideredRule(str(found.rule.place), str(found.rule), unmet)


def _changed(changed: Changed) -> s.ChangedAnswer:
    call, rule = changed.call, changed.decision.rule
    return s.ChangedAnswer(
        principal=call.principal.name,
        role=call.principal.role,
        tenant=call.principal.tenant,
        action=call.action,
        object=call.object,
        attributes=call.attributes,
        allowed=changed.decision.allowed,
        place=str(rule.place) if rule is not None else "",
        count=call.count,
    )
