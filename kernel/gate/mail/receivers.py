"""Those who wait for a message, in the order in which they came.

It does not know calls. Rules: a message is offered to the first who wants it and is not busy with another; who found
nothing after all keeps the place; messages for somebody who is gone meanwhile go back, as if nobody had seen them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, count
from typing import Protocol, TypeVar

from llmos.kernel.gate.mail.batches import HandIn, Piece
from llmos.kernel.ports.mail import (
    Arrival,
    Deliver,
    GiveBack,
    MailOwner,
    Outcome,
    Spread,
    StoredMail,
    Take,
    Taken,
    Wanted,
)
from llmos.syscalls.abi.errors import DeviceError, Error
from llmos.syscalls.abi.words import Pid

Key = TypeVar("Key", Pid, MailOwner)


class Reader(Protocol):
    """Who wants messages."""

    def taken(self, messages: tuple[StoredMail, ...]) -> bool:
        """Messages are there; False when nobody can be given them any more."""
        ...

    def waits(self) -> None:
        """There are none now. Called after each try."""
        ...

    def failed(self, error: Error) -> None:
        """There will be none."""
        ...


@dataclass(slots=True, eq=False)
class Receiver:
    """One who wants messages; `busy` while they are being taken, `over` when it wants none any more."""

    take: Take
    reader: Reader
    place: int
    busy: bool = True
    waiting: bool = False
    over: bool = False

    def wants(self, arrival: Arrival) -> bool:
        """Whether it would take this message."""
        return self.take.dead == arrival.dead and fits(arrival.wanted, self.take.wanted)


class Receivers:
    """All who want messages."""

    def __init__(self, hand_in: HandIn) -> None:
        self._hand_in = hand_in
        self._places: Iterator[int] = count()
        self._of_mailbox: dict[Pid, list[Receiver]] = {}
        self._of_owner: dict[MailOwner, list[Receiver]] = {}

    def __len__(self) -> int:
        return sum(map(len, chain(self._of_mailbox.values(), self._of_owner.values())))

    def receive(self, take: Take, reader: Reader) -> Receiver:
        """Take messages, or wait for them."""
        receiver = Receiver(take, reader, next(self._places))
        self._hand_in(self._piece(receiver))
        return receiver

    def leave(self, receiver: Receiver) -> None:
        """Want none any more; what is being taken goes back."""
        receiver.over = True
        self._remove(receiver)

    def end(self, pid: Pid, error: Error) -> None:
        """Nobody shall wait at this mailbox any more."""
        for receiver in self._of_mailbox.get(pid, [])[:]:
            self._fail(receiver, error)

    def follow(self, pieces: Iterable[Piece]) -> list[Piece]:
        """What takes the messages that are about to be written, for those who wait for them."""
        return [piece for one in pieces for arrival in _to_arrive(one) for piece in self._offer(arrival)]

    def arrived(self, arrivals: Iterable[Arrival]) -> None:
        """These can be taken now."""
        for arrival in arrivals:
            for piece in self._offer(arrival):
                self._hand_in(piece)

    def try_again(self) -> None:
        """Perhaps something can be taken: whoever waits looks, and is told when that cannot be done."""
        waiting = chain(*self._of_mailbox.values(), *self._of_owner.values())
        for receiver in sorted(waiting, key=lambda receiver: receiver.place):
            if not receiver.busy:
                receiver.busy = True
                self._hand_in(self._piece(receiver))

    def _offer(self, arrival: Arrival) -> Iterator[Piece]:
        near, far = self._of_mailbox.get(arrival.pid, ()), self._of_owner.get(arrival.owner, ())
        free = (receiver for receiver in chain(near, far) if not receiver.busy and receiver.wants(arrival))
        first = min(free, key=lambda receiver: receiver.place, default=None)
        if first is not None:
            first.busy = True
            yield self._piece(first)

    def _piece(self, receiver: Receiver) -> Piece:
        return Piece(receiver.take, lambda outcome: self._tried(receiver, outcome))

    def _tried(self, receiver: Receiver, outcome: Outcome | DeviceError) -> None:
        receiver.busy = False
        match outcome:
            case Taken(()):
                self._wait(receiver)
            case Taken(messages):
                self._remove(receiver)
                if receiver.over or not receiver.reader.taken(messages):
                    numbers = tuple(message.number for message in messages)
                    self._hand_in(Piece(GiveBack(receiver.take.scope, numbers, unseen=True), _unheard))
            case DeviceError() as error:
                self._fail(receiver, error)
            case _:
                raise AssertionError(f"{outcome} of a take")

    def _wait(self, receiver: Receiver) -> None:
        if receiver.over:
            return
        if not receiver.waiting:
            self._add(receiver)
        receiver.reader.waits()

    def _add(self, receiver: Receiver) -> None:
        receiver.take = replace(receiver.take, acknowledge=())
        receiver.waiting = True
        scope = receiver.take.scope
        if scope.pid is not None:
            self._of_mailbox.setdefault(scope.pid, []).append(receiver)
        else:
            self._of_owner.setdefault(scope.owner, []).append(receiver)

    def _fail(self, receiver: Receiver, error: Error) -> None:
        self._remove(receiver)
        if not receiver.over:
            receiver.over = True
            receiver.reader.failed(error)

    def _remove(self, receiver: Receiver) -> None:
        if not receiver.waiting:
            return
        receiver.waiting = False
        scope = receiver.take.scope
        if scope.pid is not None:
            _remove_from(self._of_mailbox, scope.pid, receiver)
        else:
            _remove_from(self._of_owner, scope.owner, receiver)


def fits(message: Wanted, wanted: Wanted) -> bool:
    """Whether a message is among those that are wanted."""
    return (
        wanted.sender in (None, message.sender)
        and wanted.tag in (None, message.tag)
        and wanted.topic in (None, message.topic)
    )


def _to_arrive(piece: Piece) -> Iterator[Arrival]:
    match piece.operation:
        case Deliver(pid, owner, draft):
            yield Arrival(pid, owner, Wanted(draft.sender, draft.tag, draft.topic), dead=False)
        case Spread(to, draft):
            for pid, owner in to:
                yield Arrival(pid, owner, Wanted(draft.sender, draft.tag, draft.topic), dead=False)
        case _:
            return


def _remove_from(waiting: dict[Key, list[Receiver]], key: Key, receiver: Receiver) -> None:
    waiting[key].remove(receiver)
    if not waiting[key]:
        del waiting[key]


def _unheard(outcome: Outcome | DeviceError) -> None:
    """Nobody waits for it: what cannot be given back comes back when its lease is over."""
