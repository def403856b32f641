"""The calls about the audit log: reading it, verifying it, and showing a denial again.

Rule: files are read beside the loop. A denial is shown to whoever was denied, and to those who may read the log of the
tenant that it happened in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import assert_never

import msgspec

from llmos.kernel.core.authority import Authorized
from llmos.kernel.core.principal import SYSTEM
from llmos.kernel.gate.calls.beside import Reader
from llmos.kernel.gate.calls.handler import Handler, row
from llmos.kernel.gate.channel import Channel
from llmos.kernel.security.audit.ocsf import to_ocsf
from llmos.kernel.security.audit.reading import find_denial, last, read
from llmos.kernel.security.audit.record import AuditRecord, Kind
from llmos.kernel.security.audit.verify import verify
from llmos.kernel.security.denial import Told
from llmos.kernel.security.membrane import Membrane
from llmos.kernel.security.objects import Target
from llmos.syscalls.abi import messages as m
from llmos.syscalls.abi import security as s
from llmos.syscalls.abi.errors import Busy, InvalidArgument, NotFound

READ = "sec.audit_read"


class AuditCalls:
    """One method per call. `folder` is the log's."""

    def __init__(self, loop: asyncio.AbstractEventLoop, membrane: Membrane, reader: Reader, folder: Path) -> None:
        self._loop = loop
        self._membrane = membrane
        self._reader = reader
        self._folder = folder

    def handlers(self) -> dict[str, Handler]:
        """By the names of the calls."""
        return dict(
            (
                row("sec.audit_read", s.ReadAudit, self.read),
                row("sec.audit_verify", m.Nothing, self.verify),
                row("sec.why_denied", s.WhyDenied, self.why_denied),
            )
        )

    def read(self, by: Authorized, request: s.ReadAudit, channel: Channel) -> None:
        tenant = by.object.removeprefix("audit:/")
        whole, kinds = None if tenant == SYSTEM else tenant, _kinds(request.kinds)
        own = by.principal.name if request.wait else None

        def work() -> s.AuditPage:
            if request.after is None:
                records = last(self._folder, request.limit, whole, kinds)
            else:
                records = read(self._folder, request.after, request.limit, whole, kinds)
            newest = records[-1].n if records else request.after or 0
            shown = (one for one in records if own is None or one.action != READ or one.principal != own)
            return s.AuditPage(tuple(_line(one, request.format) for one in shown), newest)

        if request.wait:
            _Waiting(self._loop, self._reader, by, work, request.wait, channel).look()
        else:
            self._reader.read(by, work, channel.reply, channel)

    def verify(self, by: Authorized, request: m.Nothing, channel: Channel) -> None:
        def work() -> s.AuditVerdict:
            found = verify(self._folder)
            head = found.head
            return s.AuditVerdict(
                ok=found.ok,
                records=found.records,
                head=head.n if head is not None else 0,
                hash=head.hash if head is not None else "",
                public=found.public,
                fault=found.fault.value if found.fault is not None else "",
                where=found.where,
            )

        self._reader.read(by, work, channel.reply, channel)

    def why_denied(self, by: Authorized, request: s.WhyDenied, channel: Channel) -> None:
        def shown(record: AuditRecord | None) -> None:
            if record is None or not self._may_see(by, record):
                channel.fail(NotFound(f"no denial has the id {request.denial!r}", "errors of denied calls name theirs"))
            else:
                channel.reply(_denial(record))

        self._reader.read(by, lambda: find_denial(self._folder, request.denial), shown, channel)

    def _may_see(self, by: Authorized, record: AuditRecord) -> bool:
        who = by.principal
        if (record.principal, record.tenant) == (who.name, who.tenant):
            return record.outcome != "hidden"
        return self._membrane.permits(who, Target(f"audit:/{record.tenant}", record.tenant), READ)


class _Waiting:
    """A reading that is answered when there is something, or when its time is over."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        reader: Reader,
        by: Authorized,
        work: Callable[[], s.AuditPage],
        seconds: float,
        channel: Channel,
    ) -> None:
        self._loop = loop
        self._reader = reader
        self._by = by
        self._work = work
        self._channel = channel
        self._ends = loop.time() + seconds
        self._timer = loop.call_later(seconds, self.look)
        self._forget: Callable[[], None] = lambda: None
        channel.on_end(lambda ending: self._stop())

    def look(self) -> None:
        """Read what there is now."""
        self._forget()
        try:
            self._reader.read(self._by, self._work, self._read, self._channel)
        except Busy:
            # Another reading of the same caller: look again when there is something more.
            self._forget = self._reader.log.when_written(self.look)

    def _read(self, page: s.AuditPage) -> None:
        if self._channel.over:
            return
        if page.lines or self._loop.time() >= self._ends:
            self._stop()
            self._channel.reply(page)
        else:
            self._forget = self._reader.log.when_written(self.look)

    def _stop(self) -> None:
        self._timer.cancel()
        self._forget()


def _kinds(names: tuple[str, ...]) -> frozenset[Kind] | None:
    unknown = [name for name in names if name not in tuple(Kind)]
    if unknown:
        raise InvalidArgument(f"no record is of the kind {unknown[0]!r}", f"kinds: {', '.join(Kind)}")
    return frozenset(map(Kind, names)) or None


def _line(record: AuditRecord, format: s.AuditFormat) -> str:
    match format:
        case s.AuditFormat.JSONL:
            return msgspec.json.encode(record).decode()
        case s.AuditFormat.OCSF:
            return to_ocsf(record).decode()
        case _:
            assert_never(format)


def _denial(record: AuditRecord) -> s.Denial:
    told = Told.read(record.detail)
    return s.Denial(
        denial=record.denial,
        at=record.at,
        principal=record.principal,
        role=record.role,
        tenant=record.tenant,
        action=record.action,
        object=record.object,
        attributes=record.attributes,
        reason=told.reason,
        roles=told.roles,
        contacts=told.contacts,
        count=record.count,
    )
