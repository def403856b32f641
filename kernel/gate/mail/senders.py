"""Those who send, and who wait for room in a full mailbox in the order in which they came.

It does not know what room is. Rules: nobody gets into a mailbox before those who wait for room in it; who waits only
for room in the own share is in nobody's way but its principal's; who tried and found none keeps the place; what one
principal has handed in and is not on the disk yet is bounded.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Protocol

from llmos.kernel.gate.mail.batches import HandIn, Piece
from llmos.kernel.ports.mail import Deliver, Delivered, Full, MailOwner, Outcome
from llmos.syscalls.abi.errors import DeviceError, TryAgain
from llmos.syscalls.abi.words import Pid

MOST_HELD = 32 << 20
"""Bytes of bodies that one principal may have handed in without an answer."""

OTHERS_WAIT = "others wait to send to it"


class Writer(Protocol):
    """Who sends a message."""

    def sent(self, delivered: Delivered) -> None:
        """It is on the disk."""
        ...

    def full(self, limit: str) -> bool:
        """There is no room, by this limit. Whether to wait for some; asked each time."""
        ...

    def failed(self, error: DeviceError) -> None:
        """It was not written."""
        ...


@dataclass(slots=True, eq=False)
class Sender:
    """One message on its way; `busy` while it is being written; `share` when it waits for room in its own share."""

    deliver: Deliver
    writer: Writer
    busy: bool = True
    waiting: bool = False
    share: bool = False

    @property
    def who(self) -> str:
        """Its principal."""
        return self.deliver.draft.principal


class Senders:
    """All who send."""

    def __init__(self, hand_in: HandIn) -> None:
        self._hand_in = hand_in
        self._waiting: dict[MailOwner, dict[Pid, list[Sender]]] = {}
        self._held: Counter[str] = Counter()

    def __len__(self) -> int:
        return sum(len(waiting) for of_owner in self._waiting.values() for waiting in of_owner.values())

    def send(self, deliver: Deliver, writer: Writer) -> Sender:
        """Write a message. Raises `TryAgain` when its principal has too much under way."""
        who, size = deliver.draft.principal, len(deliver.draft.body)
        if self._held[who] + size > MOST_HELD:
            raise TryAgain(
                f"{self._held[who]} bytes of your messages are not written yet, {MOST_HELD} may be",
                "wait for the answers of some",
            )
        self._held[who] += size
        sender = Sender(deliver, writer)
        self._hand_in(self._piece(sender))
        return sender

    def give_up(self, sender: Sender) -> bool:
        """Wait for room no more; False when it is just being written, and will be heard of."""
        if sender.busy:
            return False
        self._end(sender)
        return True

    def freed(self, owner: MailOwner, most: int) -> None:
        """There is room for so many more in the mailboxes of an owner."""
        for pid in self._waiting.get(owner, ()):
            self._next(owner, pid, most)

    def try_again(self) -> None:
        """Perhaps there is room: whoever is the first to wait for it looks, and is told when that cannot be done."""
        for owner, of_owner in self._waiting.items():
            for pid in of_owner:
                self._next(owner, pid, 1)

    def _next(self, owner: MailOwner, pid: Pid, most: int) -> None:
        """Let the first of every principal try again: one may have room in its share, and another none."""
        tried = Counter[str]()
        for sender in self._waiting.get(owner, {}).get(pid, ()):
            tried[sender.who] += 1
            if tried[sender.who] <= most and not sender.busy:
                sender.busy = True
                self._hand_in(self._piece(sender))

    def _piece(self, sender: Sender) -> Piece:
        return Piece(sender.deliver, lambda outcome: self._tried(sender, outcome), lambda: self._may_leave(sender))

    def _may_leave(self, sender: Sender) -> bool:
        deliver = sender.deliver
        waiting = () if sender.waiting else self._waiting.get(deliver.owner, {}).get(deliver.pid, ())
        ahead = [other for other in waiting if not other.share or other.who == sender.who]
        if ahead:
            self._tried(sender, Full(OTHERS_WAIT, share=all(other.share for other in ahead)))
        return not ahead

    def _tried(self, sender: Sender, outcome: Outcome | DeviceError) -> None:
        sender.busy = False
        waited, deliver = sender.waiting, sender.deliver
        match outcome:
            case Delivered() as delivered:
                self._end(sender)
                sender.writer.sent(delivered)
                if waited:
                    self._next(deliver.owner, deliver.pid, 1)
            case Full(limit, share):
                sender.share = share
                if sender.writer.full(limit):
                    self._wait(sender)
                else:
                    self._end(sender)
            case DeviceError() as error:
                self._end(sender)
                sender.writer.failed(error)
            case _:
                raise AssertionError(f"{outcome} of a delivery")

    def _wait(self, sender: Sender) -> None:
        if not sender.waiting:
            sender.waiting = True
            self._waiting.setdefault(sender.deliver.owner, {}).setdefault(sender.deliver.pid, []).append(sender)

    def _end(self, sender: Sender) -> None:
        draft = sender.deliver.draft
        self._held[draft.principal] -= len(draft.body)
        if self._held[draft.principal] <= 0:
            del self._held[draft.principal]
        if not sender.waiting:
            return
        sender.waiting = False
        owner, pid = sender.deliver.owner, sender.deliver.pid
        of_owner = self._waiting[owner]
        of_owner[pid].remove(sender)
        if not of_owner[pid]:
            del of_owner[pid]
        if not of_owner:
            del self._waiting[owner]
