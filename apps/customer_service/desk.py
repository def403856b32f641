"""The desk: many conversations at once, one process each, and no more of them at work than the model can take.

Who comes while all are at work waits in turn. A conversation that nobody goes on with ends after a while, and so does
the one that was idle longest when there are too many; what was said is in memory, and the next message begins another.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass, field

import llmos

from .conversation import Conversation, Reply
from .customers import Customer, Pseudonyms
from .journal import Journal
from .writing import Writer, open_writer


@dataclass(frozen=True, slots=True)
class Bounds:
    """`at_work` replies are made at the same time, `conversations` are kept; `idle` in seconds."""

    at_work: int = 8
    conversations: int = 256
    idle: float = 600.0
    priority: str = "normal"
    model: bool = True
    """Without it answers are stored ones and quotes."""


@dataclass(frozen=True, slots=True)
class Served:
    """A reply; `waited` seconds until its turn came, `took` in all."""

    reply: Reply
    waited: float
    took: float


@dataclass(slots=True, eq=False)
class _Seat:
    """A customer at the desk. `held` is whose turn it is; `wanted` counts who waits for it or has it."""

    held: asyncio.Lock = field(default_factory=asyncio.Lock)
    conversation: Conversation | None = None
    used: float = 0.0
    wanted: int = 0


class Desk:
    """Conversations of many customers."""

    def __init__(self, system: llmos.AsyncSystem, names: Pseudonyms, journal: Journal, bounds: Bounds) -> None:
        self._system = system
        self._names = names
        self._journal = journal
        self._bounds = bounds
        self._work = asyncio.Semaphore(bounds.at_work)
        self._seats: OrderedDict[Customer, _Seat] = OrderedDict()

    async def serve(self, customer: Customer, message: str) -> Served:
        """Reply to a message. Messages of one customer are taken one after the other."""
        came = time.monotonic()
        seat = self._seats.setdefault(customer, _Seat())
        seat.wanted += 1
        try:
            async with seat.held, self._work:
                return await self._reply(seat, customer, message, came)
        finally:
            seat.wanted -= 1
            seat.used = time.monotonic()
            self._seats.move_to_end(customer)
            await self._end_idle()

    async def close(self) -> None:
        """End all conversations."""
        seats, self._seats = list(self._seats.values()), OrderedDict()
        await asyncio.gather(*(_end(seat) for seat in seats))

    async def _reply(self, seat: _Seat, customer: Customer, message: str, came: float) -> Served:
        begun = time.monotonic()
        try:
            conversation = await self._conversation(seat, customer)
            reply = await conversation.take(message)
        except BaseException as error:
            self._journal.failed(self._names.of(customer), error)
            raise
        served = Served(reply, begun - came, time.monotonic() - came)
        pid = conversation.writer.process.pid if conversation.writer is not None else 0
        self._journal.replied(conversation.pseudonym, pid, message, reply, served.waited, served.took)
        return served

    async def _conversation(self, seat: _Seat, customer: Customer) -> Conversation:
        """The one that is there, with a process if one can be had."""
        if seat.conversation is None:
            seat.conversation = Conversation(self._system, customer, self._names, None)
        writer = seat.conversation.writer
        if self._bounds.model and (writer is None or writer.gone):
            seat.conversation.writer = await open_writer(self._system, self._bounds.priority)
        return seat.conversation

    async def _end_idle(self) -> None:
        """Conversations are in the order of their last use."""
        now = time.monotonic()
        over = len(self._seats) - self._bounds.conversations
        idle = [
            customer
            for place, (customer, seat) in enumerate(self._seats.items())
            if not seat.wanted and (place < over or now - seat.used > self._bounds.idle)
        ]
        await asyncio.gather(*(_end(self._seats.pop(customer)) for customer in idle))


async def _end(seat: _Seat) -> None:
    if seat.conversation is not None and seat.conversation.writer is not None:
        writer: Writer = seat.conversation.writer
        seat.conversation.writer = None
        await writer.end()
