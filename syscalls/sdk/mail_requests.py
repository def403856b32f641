"""What the SDK's methods about messages mean on the wire, and messages as programs see them.

Pure functions, shared by the blocking and the asynchronous classes, as in `requests`.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from msgspec import Raw

from llmos.syscalls.abi import mail
from llmos.syscalls.abi import messages as m
from llmos.syscalls.abi.errors import InvalidArgument, ProtocolError
from llmos.syscalls.sdk.requests import Invocation, build

WINDOW = 64
"""How many messages of a topic may be under way or unread."""

LEASE = 30.0
"""Seconds until a message that was not acknowledged comes again."""

PATIENCE_SECONDS = 5.0

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder()


@dataclass(frozen=True, slots=True)
class Letter:
    """A message: `body` is a plain Python value.

    `pid` is the process it was sent to, `sender` the one it was sent for, `principal` whoever sent it; `sent` is
    seconds since the epoch. `deliveries` is above 1 when it was given out before; `dead` says why it is a dead letter.
    """

    number: int
    pid: int
    body: object
    principal: str
    sent: float
    deliveries: int = 1
    id: str | None = None
    tag: str | None = None
    sender: int | None = None
    topic: str | None = None
    dead: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which messages to receive, and how: see `Messages.receive`."""

    pid: int | None = None
    timeout: float | None = None
    sender: int | None = None
    tag: str | None = None
    topic: str | None = None
    lease: float = LEASE
    dead: bool = False


def send(
    pid: int, body: object, id: str | None, tag: str | None, sender: int | None, timeout: float | None
) -> Invocation[mail.Sent, mail.Sent]:
    """Gives the message's number."""
    request = build(mail.Send, pid=pid, body=encoded(body), id=id, tag=tag, sender=sender, timeout=timeout)
    return Invocation("ipc.send", request, mail.Sent, lambda reply: reply, _patience(timeout))


def receive(choice: Choice, count: int) -> Invocation[mail.Received, tuple[Letter, ...]]:
    """Gives messages, one at least."""
    request = build(
        mail.Receive,
        pid=choice.pid,
        timeout=choice.timeout,
        count=count,
        sender=choice.sender,
        tag=choice.tag,
        topic=choice.topic,
        lease=choice.lease,
        dead=choice.dead,
    )
    shape = lambda reply: tuple(map(letter_of, reply.messages))  # noqa: E731 (one expression, used once)
    return Invocation("ipc.receive", request, mail.Received, shape, _patience(choice.timeout))


def acknowledge(numbers: tuple[int, ...], pid: int | None, again: bool) -> Invocation[mail.Acknowledged, int]:
    """Gives how many there were."""
    request = build(mail.Acknowledge, numbers=numbers, pid=pid, again=again)
    return Invocation("ipc.acknowledge", request, mail.Acknowledged, lambda reply: reply.count)


def publish(topic: str, body: object, id: str | None, sender: int | None) -> Invocation[mail.Published, int]:
    """Gives to how many mailboxes and streams it went."""
    request = build(mail.Publish, topic=topic, body=encoded(body), id=id, sender=sender)
    return Invocation("ipc.publish", request, mail.Published, lambda reply: reply.receivers)


def subscribe(topic: str, pid: int | None) -> Invocation[m.Done, None]:
    """Subscribes a mailbox, or begins a stream."""
    request = build(mail.Subscribe, topic=topic, pid=pid, window=WINDOW)
    return Invocation("ipc.subscribe", request, m.Done, lambda reply: None)


def unsubscribe(topic: str, pid: int) -> Invocation[m.Done, None]:
    """Takes the subscription of a mailbox back."""
    return Invocation("ipc.unsubscribe", build(mail.Unsubscribe, topic=topic, pid=pid), m.Done, lambda reply: None)


def mailbox(pid: int) -> Invocation[mail.MailboxInfo, mail.MailboxInfo]:
    """Gives how full it is."""
    return Invocation("ipc.mailbox", build(mail.OnMailbox, pid=pid), mail.MailboxInfo, lambda reply: reply)


def _patience(timeout: float | None) -> float | None:
    """The kernel's own answer comes first; and what is there is given at once, also when there is no time."""
    return None if timeout is None else timeout + PATIENCE_SECONDS


def encoded(body: object) -> Raw:
    """A body as bytes. Raises `InvalidArgument` for what is no plain value."""
    try:
        return Raw(_ENCODER.encode(body))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidArgument(
            f"the body cannot be sent: {error}", "None, booleans, numbers, text, bytes, lists, and dicts of those"
        ) from None


def letter_of(message: mail.Mail) -> Letter:
    """A message with its body decoded. Raises `ProtocolError`."""
    try:
        body = _DECODER.decode(message.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"the body of message {message.number} cannot be read: {error}") from None
    return Letter(
        message.number,
        message.pid,
        body,
        message.principal,
        message.sent,
        message.deliveries,
        message.id,
        message.tag,
        message.sender,
        message.topic,
        message.dead,
    )
