"""Tickets: what a person has to answer. A record in memory, and a message to whoever is subscribed.

The record is there before the customer hears its number. The message goes to the topic `tickets` of the app, and
carries the number as its id; one that nobody received is sent again when the service starts. Staff reply on a ticket,
and the customer is told at the next contact.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from hashlib import blake2b

import llmos

NAMESPACE = "tickets"
TOPIC = "tickets"
ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Without what is easily taken for another."""


class Reason(StrEnum):
    """Why a person is needed."""

    NO_ANSWER = "nothing in the documents answers it"
    ASKED_FOR = "the customer asked for a person"
    SUSPICIOUS = "it is addressed to a machine"


class TicketState(StrEnum):
    """Where a ticket is: to be answered, answered, and told to the customer."""

    OPEN = "open"
    ANSWERED = "answered"
    TOLD = "told"


@dataclass(frozen=True, slots=True)
class Ticket:
    """`customer` is the pseudonym, `principal` and `name` who it is for staff. `opened` is seconds since the epoch."""

    number: str
    customer: str
    principal: str
    name: str
    question: str
    reason: str
    state: TicketState
    opened: float
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Tickets:
    """The tickets of the app."""

    system: llmos.AsyncSystem

    async def open(self, customer: str, principal: str, name: str, question: str, reason: Reason) -> Ticket:
        """The ticket of this question, a new one unless the customer has asked the same and still waits."""
        digest = blake2b(question.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        waiting = {"customer": customer, "question": digest, "state": TicketState.OPEN.value}
        for record in await self.system.memory.list(NAMESPACE, waiting, limit=1):
            return _ticket(record)
        about = {
            "customer": customer,
            "principal": principal,
            "name": name[:1000],
            "question": digest,
            "reason": reason.value,
            "state": TicketState.OPEN.value,
            "heard": False,
            "answer": "",
        }
        ticket = _ticket(await self._enter(question, about))
        await self._announce(ticket)
        return ticket

    async def announce_unheard(self) -> int:
        """Send those again that nobody has received; how many there were."""
        unheard = await self.list(TicketState.OPEN, heard=False)
        for ticket in unheard:
            await self._announce(ticket)
        return len(unheard)

    async def list(self, state: TicketState | None = None, heard: bool | None = None) -> Sequence[Ticket]:
        """Tickets, oldest first; all of them, or those in a state."""
        where: dict[str, str | bool] = {}
        if state is not None:
            where["state"] = state.value
        if heard is not None:
            where["heard"] = heard
        return [_ticket(record) for record in await self.system.memory.list(NAMESPACE, where)]

    async def answer(self, number: str, answer: str) -> Ticket:
        """Answer a ticket, or answer it anew. Raises `llmos.NotFound`."""
        return await self._change(number, state=TicketState.ANSWERED.value, answer=answer[:4096])

    async def take_answers(self, customer: str) -> Sequence[Ticket]:
        """Answers that a customer has not been told; from now on they count as told."""
        answered = {"customer": customer, "state": TicketState.ANSWERED.value}
        found = await self.system.memory.list(NAMESPACE, answered)
        return [await self._change(one.id, state=TicketState.TOLD.value) for one in found]

    async def _enter(self, question: str, about: dict[str, str | bool]) -> llmos.MemoryRecord:
        """Under a number that is free."""
        while True:
            number = "T-" + "".join(secrets.choice(ALPHABET) for _ in range(8))
            try:
                return await self.system.memory.put(question, about, NAMESPACE, id=number, trust="external", expected=0)
            except llmos.Busy:
                continue

    async def _announce(self, ticket: Ticket) -> None:
        told = asdict(ticket) | {"state": ticket.state.value}
        if await self.system.messages.publish(TOPIC, told, id=ticket.number):
            await self._change(ticket.number, heard=True)

    async def _change(self, number: str, **about: str | bool) -> Ticket:
        """Change what is known of a ticket, as often as somebody else is faster."""
        while True:
            now = await self.system.memory.get(number, NAMESPACE)
            changed = now.metadata | about
            try:
                return _ticket(
                    await self.system.memory.put(
                        now.text, changed, NAMESPACE, id=number, trust="external", expected=now.version
                    )
                )
            except llmos.Busy:
                continue


def _ticket(record: llmos.MemoryRecord) -> Ticket:
    about = record.metadata
    return Ticket(
        number=record.id,
        customer=str(about["customer"]),
        principal=str(about["principal"]),
        name=str(about["name"]),
        question=record.text,
        reason=str(about["reason"]),
        state=TicketState(str(about["state"])),
        opened=record.created,
        answer=str(about["answer"]),
    )
