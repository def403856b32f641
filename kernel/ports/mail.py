"""The port to stored messages: what can be done with mailboxes, in batches, and what comes of it.

Rules for whoever implements it: the operations of a batch happen in their order, all of them or none, and the report
comes when they are on the disk. Operations that are refused are outcomes, not errors. A message is in one of four
places: it waits, it is taken until its lease is over, it is a dead letter, or a dead letter that is taken. Numbers rise
and are never given twice. Times are seconds since the epoch; sizes are bytes of bodies.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from llmos.syscalls.abi.words import Pid


@dataclass(frozen=True, slots=True)
class MailOwner:
    """Whose a mailbox is."""

    name: str
    tenant: str


@dataclass(frozen=True, slots=True)
class MailLimits:
    """How much is kept. Messages and bytes of a mailbox and of all mailboxes of an owner, dead letters of an owner.

    `deliveries`: so often a message is given out before it is a dead letter. `keep_seconds`: so long it waits, and then
    again as a dead letter. `remember_seconds` and `remembered`: so long, and so many of an owner, ids of messages that
    are gone are known.
    """

    mailbox_messages: int = 10_000
    mailbox_bytes: int = 64 << 20
    principal_messages: int = 50_000
    principal_bytes: int = 256 << 20
    dead_letters: int = 1_000
    dead_bytes: int = 32 << 20
    deliveries: int = 16
    keep_seconds: float = 30 * 86_400.0
    remember_seconds: float = 86_400.0
    remembered: int = 100_000
    subscriptions: int = 1_000
    """Of one topic, and of one owner."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A message that has no number yet. `sender` 0 is no process."""

    body: bytes
    principal: str
    sender: int = 0
    id: str | None = None
    tag: str | None = None
    topic: str | None = None


@dataclass(frozen=True, slots=True)
class StoredMail:
    """A message as it is given out; `dead` says why it is a dead letter."""

    number: int
    pid: Pid
    body: bytes
    principal: str
    sent: float
    deliveries: int
    id: str | None
    tag: str | None
    sender: int
    topic: str | None
    dead: str


@dataclass(frozen=True, slots=True)
class Scope:
    """Which mailboxes: that of `pid`, or all of `owner`."""

    owner: MailOwner
    pid: Pid | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which messages; None is any."""

    sender: int | None = None
    tag: str | None = None
    topic: str | None = None


# --- operations


@dataclass(frozen=True, slots=True)
class Deliver:
    """Put a message into a mailbox, which is made if there is none.

    A principal who is not the owner may hold half of what the others leave. `patient`: who is refused for want of room
    waits, so that nobody later in the batch may get in before; for want of a share, nobody of the same principal.
    """

    pid: Pid
    owner: MailOwner
    draft: Draft
    patient: bool = False


@dataclass(frozen=True, slots=True)
class Spread:
    """Put a message into several mailboxes; where there is no room it is a dead letter."""

    to: tuple[tuple[Pid, MailOwner], ...]
    draft: Draft


@dataclass(frozen=True, slots=True)
class Take:
    """Be done with some messages, then give out others, oldest first, until `lease` seconds from now."""

    scope: Scope
    count: int
    lease: float
    wanted: Wanted = Wanted()
    acknowledge: tuple[int, ...] = ()
    dead: bool = False


@dataclass(frozen=True, slots=True)
class Settle:
    """Be done with messages."""

    scope: Scope
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Let messages that are taken wait again; `unseen`: nobody got them, so that the delivery does not count."""

    scope: Scope
    numbers: tuple[int, ...]
    unseen: bool = False


@dataclass(frozen=True, slots=True)
class Enrol:
    """Subscribe a mailbox to a topic; without effect when it is."""

    topic: str
    pid: Pid
    owner: MailOwner


@dataclass(frozen=True, slots=True)
class Resign:
    """Take a subscription back."""

    topic: str
    pid: Pid


@dataclass(frozen=True, slots=True)
class Describe:
    """Count what is in a mailbox."""

    pid: Pid


@dataclass(frozen=True, slots=True)
class EndMailbox:
    """The process is gone: it subscribes to nothing any more, and its mailbox goes when it is empty."""

    pid: Pid


@dataclass(frozen=True, slots=True)
class Sweep:
    """Take away what was kept long enough."""


Operation = Deliver | Spread | Take | Settle | GiveBack | Enrol | Resign | Describe | EndMailbox | Sweep


# --- outcomes


@dataclass(frozen=True, slots=True)
class Delivered:
    """It is there, under its number; `again` when it had been sent before."""

    number: int
    again: bool = False


@dataclass(frozen=True, slots=True)
class Full:
    """There is no room; in words, which limit that is. `share`: only for this principal, and others may have room."""

    limit: str
    share: bool = False


@dataclass(frozen=True, slots=True)
class Taken:
    """Messages, oldest first."""

    messages: tuple[StoredMail, ...]


@dataclass(frozen=True, slots=True)
class Counted:
    """How many there were."""

    count: int


@dataclass(frozen=True, slots=True)
class Contents:
    """How full a mailbox is."""

    waiting: int = 0
    taken: int = 0
    dead: int = 0
    bytes: int = 0


Outcome = Delivered | Full | Taken | Counted | Contents


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message that can be taken when the batch is over, and could not before."""

    pid: Pid
    owner: MailOwner
    wanted: Wanted
    dead: bool


@dataclass(frozen=True, slots=True)
class Tally:
    """What a batch changed: messages and bytes that are kept, dead letters, and how many of each thing happened."""

    messages: int = 0
    bytes: int = 0
    dead: int = 0
    sent: int = 0
    delivered: int = 0
    redelivered: int = 0
    acknowledged: int = 0
    died: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What became of a batch: an outcome for each operation; what arrived; whose mailboxes have more room than before,
    and how many messages left them; which mailboxes are no more, and which have no subscriptions any more; and when the
    next lease is over.
    """

    outcomes: tuple[Outcome, ...]
    arrivals: tuple[Arrival, ...]
    freed: tuple[tuple[MailOwner, int], ...]
    closed: tuple[Pid, ...]
    resigned: tuple[Pid, ...]
    next_due: float | None
    tally: Tally


@dataclass(frozen=True, slots=True)
class Kept:
    """What was there when the store was opened: mailboxes and subscriptions."""

    mailboxes: tuple[tuple[Pid, MailOwner], ...]
    subscriptions: tuple[tuple[str, Pid], ...]
    tally: Tally


class MailStore(Protocol):
    """Where messages are kept. All methods may be called from any thread."""

    def recover(self) -> Kept:
        """What is there; called once, before any batch. What was taken waits again, and no mailbox has a process."""
        ...

    def perform(self, operations: tuple[Operation, ...], now: float) -> Future[BatchReport]:
        """Do a batch; the future is done, in a thread of the store's, when it is on the disk, or has a `DeviceError`
        and nothing of it has happened.
        """
        ...

    def close(self) -> None:
        """Do what was handed in, then close."""
        ...
