"""`serve`: the tool `ask`, for programs that speak for customers, until the app is told to end.

A caller that asks when the queue is full hears `TryAgain`, with an estimate of when to come back. Documents that change
are read while it serves.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import llmos

from .customers import Customer, pseudonyms
from .desk import Bounds, Desk, Served
from .journal import Journal
from .library import FOLDER, Library
from .tickets import Tickets

TOOL = "ask"
QUEUE = 128
"""Calls that are open at once."""
MOST_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Told:
    """What a caller of the tool gets."""

    text: str
    outcome: str
    sources: tuple[str, ...]
    also: tuple[str, ...]
    ticket: str | None
    news: tuple[str, ...]
    confidence: float
    waited: float
    took: float


async def serve(system: llmos.AsyncSystem, bounds: Bounds, queue: int = QUEUE) -> None:
    """Serve until cancelled."""
    journal = Journal()
    library = Library(system)
    await _refresh(library, journal)
    await Tickets(system).announce_unheard()
    async with _watching(system, library, journal):
        desk = Desk(system, await pseudonyms(system), journal, bounds)
        try:
            await _offer(system, desk, queue)
            journal.happened("serving")
            await system.tools.serve()
        finally:
            await desk.close()


async def _offer(system: llmos.AsyncSystem, desk: Desk, queue: int) -> None:
    async def ask(customer: str, text: str, *, caller: llmos.ToolCaller) -> Told:
        """Answers a customer's question from the documents, or hands it over to a person.

        Args:
            customer: who asks, by the name that the caller always uses for this customer
            text: what the customer says
        """
        return told(await desk.serve(Customer(caller.principal, customer), text))

    await system.tools.register(ask, name=TOOL, timeout=MOST_SECONDS, at_once=queue)


def told(served: Served) -> Told:
    """A reply as callers get it."""
    reply = served.reply
    return Told(
        reply.text,
        reply.outcome.value,
        tuple(str(one) for one in reply.citations),
        tuple(str(one) for one in reply.also),
        reply.ticket,
        reply.news,
        round(reply.confidence, 3),
        round(served.waited, 3),
        round(served.took, 3),
    )


@asynccontextmanager
async def _watching(system: llmos.AsyncSystem, library: Library, journal: Journal) -> AsyncIterator[None]:
    """Read documents that change meanwhile."""
    await system.files.mkdir(FOLDER, parents=True)
    watching = await system.files.watch(FOLDER)

    async def follow() -> None:
        async for _ in watching:
            try:
                await _refresh(library, journal)
            except llmos.Error as error:  # the next change, or the next start, tries again
                journal.happened("documents not read", type(error).__name__)

    following = asyncio.create_task(follow())
    try:
        yield
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        await watching.close()


async def _refresh(library: Library, journal: Journal) -> None:
    done = await library.refresh()
    journal.known = await library.words()
    counts = f"{len(done.read)} read, {len(done.unchanged)} unchanged, {len(done.forgotten)} forgotten"
    journal.happened("documents", f"{counts}, {len(done.refused)} refused")
