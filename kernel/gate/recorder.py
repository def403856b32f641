"""From what happens at the gate to entries of the audit log.

It does not know how the log is kept. Rules: every call that was authorised leaves one entry when it ends, with its
outcome; every denial, refused handshake and strike leaves one; contents are never in it, only their digest. What a
client is told only after the log has it goes through `commit`.
"""

from __future__ import annotations

from typing import TypeVar

from llmos.kernel.core.authority import Authorized
from llmos.kernel.core.principal import Principal
from llmos.kernel.core.process import Process
from llmos.kernel.gate.channel import Channel
from llmos.kernel.security.audit.log import AuditLog
from llmos.kernel.security.audit.record import Entry, Kind
from llmos.kernel.security.denial import Denial
from llmos.syscalls.abi.errors import Error
from llmos.syscalls.abi.words import Record

_AT_ONCE = frozenset({"sys.shutdown", "sys.drain"})
"""Calls that concern everybody: written before anything else is waited for."""

_LOOKING = frozenset({"proc.info", "proc.why", "proc.wait"})
"""Calls on other people's processes that can wait for the others of their group: they are made again and again."""

_MOST_KEPT = 1 << 14

Source = TypeVar("Source", Authorized, Denial, tuple[str, str])


class Recorder:
    """Notes what callers do. Entries that are the same are the same object, so that the log counts them."""

    def __init__(self, log: AuditLog) -> None:
        self.log = log
        self._done: dict[Authorized, Entry] = {}
        self._denied: dict[Denial, Entry] = {}
        self._displaced: dict[tuple[str, str], Entry] = {}

    def done(self, by: Authorized, outcome: str = "ok", digest: str = "") -> None:
        """A call has ended."""
        if outcome == "ok" and not digest:
            entry = self._done.get(by)
            if entry is None:
                entry = _keep(self._done, by, _entry(Kind.CALL, by))
        else:
            entry = _entry(Kind.CALL, by, outcome, digest)
        self.log.note(entry, by.action in _AT_ONCE or (by.owner != "" and by.action not in _LOOKING))

    def denied(self, denial: Denial) -> None:
        """The policy said no."""
        entry = self._denied.get(denial)
        if entry is None:
            entry = _keep(self._denied, denial, _denial_entry(denial))
        self.log.note(entry, at_once=True)

    def failed(self, who: Principal, action: str, error: Error) -> None:
        """A call ended before it was authorised: its arguments or its object cannot be."""
        self.log.note(_of(who, Kind.CALL, action=action[:64], outcome=error.number.name))

    def struck(self, who: Principal, reason: str) -> None:
        """A client misbehaved."""
        self.log.note(_of(who, Kind.STRIKE, outcome="EPROTO", detail=reason))

    def refused(self, key: str, name: str, address: str) -> None:
        """A handshake was refused; `name` is whose key it was, as far as known."""
        self.log.note(Entry(Kind.REFUSAL, principal=name, outcome="refused", object=address, detail=key))

    def displaced(self, victim: Process, winner: Process) -> None:
        """The scheduler moved one principal's process for another's."""
        who = (winner.principal, victim.principal)
        entry = self._displaced.get(who)
        if entry is None:
            entry = _keep(self._displaced, who, _displacement_entry(victim, winner))
        self.log.note(entry)

    def happened(self, kind: Kind, detail: str, outcome: str = "ok") -> None:
        """Something happened that nobody asked for."""
        self.log.note(Entry(kind, outcome=outcome, detail=detail), at_once=True)

    def commit(self, kind: Kind, by: Authorized, detail: str, reply: Record, channel: Channel) -> None:
        """Answer a call once the log has it for good."""

        def written(error: Error | None) -> None:
            if channel.over:
                return
            if error is None:
                channel.reply(reply)
            else:
                channel.fail(error)

        self.log.commit(_entry(kind, by, detail=detail), written)


def _entry(kind: Kind, by: Authorized, outcome: str = "ok", digest: str = "", detail: str = "") -> Entry:
    who = by.principal
    return Entry(
        kind,
        principal=who.name,
        role=who.role,
        tenant=who.tenant,
        action=by.action,
        object=by.object,
        owner=by.owner,
        object_tenant=by.tenant,
        attributes=by.attributes,
        outcome=outcome,
        digest=digest,
        detail=detail,
    )


def _of(who: Principal, kind: Kind, action: str = "", outcome: str = "ok", detail: str = "") -> Entry:
    return Entry(
        kind,
        principal=who.name,
        role=who.role,
        tenant=who.tenant,
        action=action,
        outcome=outcome,
        detail=detail,
    )


def _denial_entry(denial: Denial) -> Entry:
    who, question = denial.question.principal, denial.question
    owner = denial.target.owner
    return Entry(
        Kind.DENIAL,
        principal=who.name,
        role=who.role,
        tenant=who.tenant,
        action=question.action,
        object=question.object,
        owner=owner.name if owner is not None and owner.name != who.name else "",
        object_tenant=question.tenant,
        attributes=question.circumstances.attributes.text(),
        outcome="hidden" if denial.hidden else "denied",
        detail=denial.record(),
        denial=denial.id,
    )


def _displacement_entry(victim: Process, winner: Process) -> Entry:
    return Entry(
        Kind.PREEMPTION,
        principal=winner.principal,
        tenant=winner.tenant,
        object=f"proc:/{victim.principal}/*",
        owner=victim.principal,
        object_tenant=victim.tenant,
    )


def _keep(kept: dict[Source, Entry], source: Source, entry: Entry) -> Entry:
    if len(kept) >= _MOST_KEPT:
        kept.clear()
    kept[source] = entry
    return entry
