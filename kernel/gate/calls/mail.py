"""The calls about messages between processes.

Rules: who may act for a process sends in its name, who may receive for it subscribes it; a subscription gives nothing
to an owner who may not subscribe any more. A message that has left for a client is its client's until the lease is
over; one that nobody could be given goes back at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from msgspec import Raw

from llmos.kernel.core.authority import Authorized
from llmos.kernel.core.principal import Principal
from llmos.kernel.gate.calls.handler import Handler, row
from llmos.kernel.gate.calls.mail_waiting import Receiving, Sending, mail_of
from llmos.kernel.gate.channel import Channel
from llmos.kernel.gate.mail.room import MailRoom
from llmos.kernel.loop.shell import Shell
from llmos.kernel.ports import mail as p
from llmos.kernel.security.denial import no_such_process
from llmos.kernel.security.membrane import Membrane
from llmos.kernel.security.names import owned_name
from llmos.kernel.security.objects import Owner, named_by
from llmos.syscalls.abi import mail
from llmos.syscalls.abi.errors import DeviceError, LimitExceeded
from llmos.syscalls.abi.messages import Done
from llmos.syscalls.abi.words import Pid
from llmos.syscalls.wire.plain import check_plain

_TOPIC = "topic:/"


class Mailboxes(Protocol):
    """Whose mailboxes are."""

    def mailbox_of(self, pid: Pid) -> Owner | None:
        """Whose a mailbox is, also when its process is gone; None when there can be none."""
        ...


class MailCalls:
    """One method per call."""

    def __init__(self, shell: Shell, membrane: Membrane, room: MailRoom, clock: Callable[[], float]) -> None:
        self._shell = shell
        self._membrane = membrane
        self._room = room
        self._clock = clock

    def handlers(self) -> dict[str, Handler]:
        """By the names of the calls."""
        return dict(
            (
                row("ipc.send", mail.Send, self.send),
                row("ipc.receive", mail.Receive, self.receive),
                row("ipc.acknowledge", mail.Acknowledge, self.acknowledge),
                row("ipc.publish", mail.Publish, self.publish),
                row("ipc.subscribe", mail.Subscribe, self.subscribe),
                row("ipc.unsubscribe", mail.Unsubscribe, self.unsubscribe),
                row("ipc.mailbox", mail.OnMailbox, self.mailbox),
            )
        )

    def send(self, by: Authorized, request: mail.Send, channel: Channel) -> None:
        pid = Pid(request.pid)
        owner = self._owner(pid)
        draft = p.Draft(
            check_body(request.body),
            by.principal.name,
            self._sender(by.principal, request.sender),
            request.id,
            request.tag,
        )
        deliver = p.Deliver(pid, owner, draft, patient=request.timeout is not None)
        Sending(self._shell.loop, self._room, request.timeout, channel).begin(deliver)
        self._forget_if_gone(pid)

    def receive(self, by: Authorized, request: mail.Receive, channel: Channel) -> None:
        topic = None if request.topic is None else str_of_topic(request.topic, by.principal)
        take = p.Take(
            self._scope(by, request.pid),
            request.count,
            request.lease,
            p.Wanted(request.sender, request.tag, topic),
            request.acknowledge,
            request.dead,
        )
        Receiving(by, self._shell, self._room, request.timeout, channel).begin(take)

    def acknowledge(self, by: Authorized, request: mail.Acknowledge, channel: Channel) -> None:
        scope = self._scope(by, request.pid)
        settle = p.GiveBack(scope, request.numbers) if request.again else p.Settle(scope, request.numbers)
        self._room.perform(settle, lambda outcome: _counted(outcome, channel))

    def publish(self, by: Authorized, request: mail.Publish, channel: Channel) -> None:
        topic = by.object.removeprefix(_TOPIC)
        body = check_body(request.body)
        sender = self._sender(by.principal, request.sender)
        draft = p.Draft(body, by.principal.name, sender, request.id, topic=topic)
        sent = self._clock()

        def spread(outcome: p.Outcome | DeviceError) -> None:
            streams = 0 if isinstance(outcome, DeviceError) else self._tell(topic, draft, sent)
            _published(outcome, streams, channel)

        self._room.perform(p.Spread(self._subscribers(topic), draft), spread)

    def subscribe(self, by: Authorized, request: mail.Subscribe, channel: Channel) -> None:
        topic = by.object.removeprefix(_TOPIC)
        if request.pid is None:
            self._room.topics.open(topic, channel)
            return
        pid = Pid(request.pid)
        self._membrane.authorize_process(by.principal, pid, "ipc.receive")
        owner = self._owner(pid)

        def enrolled(outcome: p.Outcome | DeviceError) -> None:
            match outcome:
                case p.Full(limit):
                    _fail(LimitExceeded(f"there are {limit} already", "llmosctl ipc mailbox shows them"), channel)
                case DeviceError() as error:
                    _fail(error, channel)
                case _:
                    self._room.topics.enrol(topic, pid)
                    self._room.has_mailbox(pid, owner)
                    _reply(Done(), channel)

        self._room.perform(p.Enrol(topic, pid, owner), enrolled)
        self._forget_if_gone(pid)

    def unsubscribe(self, by: Authorized, request: mail.Unsubscribe, channel: Channel) -> None:
        topic, pid = by.object.removeprefix(_TOPIC), Pid(request.pid)
        self._membrane.authorize_process(by.principal, pid, "ipc.receive")

        def resigned(outcome: p.Outcome | DeviceError) -> None:
            if isinstance(outcome, DeviceError):
                _fail(outcome, channel)
                return
            self._room.topics.resign(topic, pid)
            _reply(Done(), channel)

        self._room.perform(p.Resign(topic, pid), resigned)

    def mailbox(self, by: Authorized, request: mail.OnMailbox, channel: Channel) -> None:
        pid = Pid(request.pid)
        self._owner(pid)
        topics = self._room.topics.of_mailbox(pid)

        def described(outcome: p.Outcome | DeviceError) -> None:
            match outcome:
                case p.Contents(waiting, taken, dead, size):
                    _reply(mail.MailboxInfo(pid, waiting, taken, dead, size, topics), channel)
                case DeviceError() as error:
                    _fail(error, channel)
                case _:
                    raise AssertionError(f"{outcome} of a description")

        self._room.perform(p.Describe(pid), described)

    # --- parts

    def _owner(self, pid: Pid) -> p.MailOwner:
        """Whose mailbox it is; what was authorised may be gone by now. Raises `NoSuchProcess`."""
        owner = self._membrane.owners.mailbox_of(pid)
        if owner is None:
            raise no_such_process(pid)
        return p.MailOwner(owner.name, owner.tenant)

    def _sender(self, who: Principal, pid: int | None) -> int:
        if pid is not None:
            self._membrane.authorize_process(who, Pid(pid), "ctx.append")
        return pid or 0

    def _scope(self, by: Authorized, pid: int | None) -> p.Scope:
        if pid is None:
            return p.Scope(p.MailOwner(by.principal.name, by.principal.tenant))
        return p.Scope(self._owner(Pid(pid)), Pid(pid))

    def _forget_if_gone(self, pid: Pid) -> None:
        """A mailbox that was made for a process that is gone must not stay for ever."""
        process = self._shell.kernel.table.find(pid)
        if process is None or not process.alive:
            self._room.perform(p.EndMailbox(pid), lambda outcome: None)

    def _subscribers(self, topic: str) -> tuple[tuple[Pid, p.MailOwner], ...]:
        found = ((pid, self._room.owner_of(pid)) for pid in self._room.topics.mailboxes(topic))
        return tuple((pid, owner) for pid, owner in found if owner is not None and self._may_hear(topic, owner))

    def _may_hear(self, topic: str, owner: p.MailOwner) -> bool:
        """Whether the owner of a mailbox may subscribe to this topic still."""
        identity = self._membrane.holders.named(owner.name)
        if identity is None or identity.revoked is not None or identity.principal.tenant != owner.tenant:
            return False
        who = identity.principal
        target = named_by("topic", owned_name(topic, who.name, "topic"), who, self._membrane.holders)
        return self._membrane.permits(who, target, "ipc.subscribe")

    def _tell(self, topic: str, draft: p.Draft, sent: float) -> int:
        stored = p.StoredMail(0, Pid(0), draft.body, draft.principal, sent, 1, draft.id, None, draft.sender, topic, "")
        return self._room.topics.announce(topic, mail_of(stored))


def check_body(body: Raw) -> bytes:
    """The bytes of a body. Raises `MessageTooLong`, `InvalidArgument`."""
    return check_plain(bytes(body), mail.MAX_BODY, "the body")


def str_of_topic(text: str, who: Principal) -> str:
    """A topic by its whole name. Raises `InvalidArgument`."""
    name = owned_name(text, who.name, "topic")
    return f"{name.owner}/{name.name}"


def _counted(outcome: p.Outcome | DeviceError, channel: Channel) -> None:
    match outcome:
        case p.Counted(count):
            _reply(mail.Acknowledged(count), channel)
        case DeviceError() as error:
            _fail(error, channel)
        case _:
            raise AssertionError(f"{outcome} of an acknowledgement")


def _published(outcome: p.Outcome | DeviceError, streams: int, channel: Channel) -> None:
    match outcome:
        case p.Counted(count):
            _reply(mail.Published(count + streams), channel)
        case DeviceError() as error:
            _fail(error, channel)
        case _:
            raise AssertionError(f"{outcome} of a publication")


def _reply(record: mail.Acknowledged | mail.Published | mail.MailboxInfo | Done, channel: Channel) -> None:
    if not channel.over:
        channel.reply(record)


def _fail(error: DeviceError | LimitExceeded, channel: Channel) -> None:
    if not channel.over:
        channel.fail(error)
