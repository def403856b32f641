"""Requests and replies of messages between processes; `table` says which belongs to which.

A body is any MessagePack value without extension types. A topic is named `NAME` (the caller's own), `OWNER/NAME` or
`@TENANT/NAME`. Times are seconds since the epoch.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Raw

from llmos.syscalls.abi.memory import OwnedName
from llmos.syscalls.abi.words import Count, PidField, Record, Seconds

MAX_BODY = 1 << 20
"""Bytes of a body, encoded."""

Label = Annotated[str, Meta(min_length=1, max_length=128)]
MessageNumber = Annotated[int, Meta(ge=1, lt=1 << 53)]


class Send(Record, frozen=True):
    """Put a message into the mailbox of a process; it is on the disk when this is answered. The mailbox of a process
    that has exited takes messages as long as there is something in it: they are its owner's.

    A second message to the same mailbox with the same `id` and sender is the first one again. `sender` is the process
    in whose name it is sent, one of the caller's own. A full mailbox is EAGAIN; `timeout`: wait so long for room, then
    ETIMEDOUT.
    """

    pid: PidField
    body: Raw
    id: Label | None = None
    tag: Label | None = None
    sender: PidField | None = None
    timeout: Seconds | None = None


class Sent(Record, frozen=True):
    """The message's number; `again` when it had been sent before."""

    number: int
    again: bool = False


class Receive(Record, frozen=True):
    """Take messages, oldest first: those for the process `pid`, or for any of the caller's own.

    `sender`, `tag` and `topic` leave others where they are. Waits up to `timeout` seconds for the first, then
    ETIMEDOUT; without it, as long as it takes. Gives no more at once than 16 MiB of bodies. What was taken and is not
    acknowledged within `lease` seconds comes again. `acknowledge` are numbers of earlier messages that are done with.
    """

    pid: PidField | None = None
    timeout: Seconds | None = None
    count: Annotated[int, Meta(ge=1, le=1000)] = 1
    sender: PidField | None = None
    tag: Label | None = None
    topic: OwnedName | None = None
    lease: Annotated[float, Meta(gt=0, le=86_400)] = 30.0
    acknowledge: Annotated[tuple[MessageNumber, ...], Meta(max_length=1000)] = ()
    dead: bool = False
    """Take from the dead letters instead."""


class Mail(Record, frozen=True):
    """One message. `principal` is who sent it; `deliveries` counts how often it was given out; `dead` says why it is a
    dead letter.
    """

    number: int
    pid: int
    body: Raw
    principal: str
    sent: float
    deliveries: int
    id: str | None = None
    tag: str | None = None
    sender: int | None = None
    topic: str | None = None
    dead: str = ""


class Received(Record, frozen=True):
    """Messages."""

    messages: tuple[Mail, ...]


class Acknowledge(Record, frozen=True):
    """Messages that are done with; they are gone. With `again` they are given back instead, to be taken anew."""

    numbers: Annotated[tuple[MessageNumber, ...], Meta(min_length=1, max_length=1000)]
    pid: PidField | None = None
    again: bool = False


class Acknowledged(Record, frozen=True):
    """How many there were."""

    count: int


class Publish(Record, frozen=True):
    """Send a message to all who have subscribed to a topic; it is in their mailboxes, on the disk, when this is
    answered. A full mailbox gets it as a dead letter.
    """

    topic: OwnedName
    body: Raw
    id: Label | None = None
    sender: PidField | None = None


class Published(Record, frozen=True):
    """How many mailboxes and open streams it went to."""

    receivers: int


class Subscribe(Record, frozen=True):
    """Subscribe to a topic: with `pid` its mailbox gets all that is published from now on, until `ipc.unsubscribe` or
    its end; without, this call streams it as long as it is open, and what is published before and after is lost to it.
    A stream that is read too slowly ends with EDQUOT. Events have the number and the pid 0: there is nothing to
    acknowledge.
    """

    topic: OwnedName
    pid: PidField | None = None
    window: Annotated[int, Meta(ge=1, le=1 << 16)] = 64


class Unsubscribe(Record, frozen=True):
    """Take the subscription of a mailbox back."""

    topic: OwnedName
    pid: PidField


class OnMailbox(Record, frozen=True):
    """Describe a mailbox."""

    pid: PidField


class MailboxInfo(Record, frozen=True):
    """How full a mailbox is: messages that wait, that are taken and not acknowledged, and dead letters."""

    pid: int
    waiting: int
    taken: int
    dead: int
    bytes: Count
    topics: tuple[str, ...] = ()
