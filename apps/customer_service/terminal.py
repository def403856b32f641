"""`chat`: one customer's conversation in the terminal, line by line."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import llmos

from .conversation import Reply
from .customers import Customer, Past, pseudonyms
from .desk import Bounds, Desk
from .journal import Journal
from .library import Library
from .sources import with_citations

HELP = "Type a question. /forget erases what is remembered of you, /quit ends."


async def chat(system: llmos.AsyncSystem, customer: str, bounds: Bounds, log: Callable[[str], None]) -> None:
    """Reply to each line of stdin until it ends."""
    me = Customer((await system.whoami()).name, customer)
    names = await pseudonyms(system)
    desk = Desk(system, names, Journal(await Library(system).words(), log), bounds)
    _say(HELP)
    try:
        async for line in _lines():
            match line.strip():
                case "":
                    continue
                case "/quit":
                    return
                case "/forget":
                    _say(f"Forgotten: {await Past(system, names.namespace(me)).forget()} messages.")
                case message:
                    await _exchange(desk, me, message)
    finally:
        await desk.close()


async def _exchange(desk: Desk, customer: Customer, message: str) -> None:
    try:
        _say(shown((await desk.serve(customer, message)).reply))
    except llmos.Error as error:
        _say(f"That did not work: {error.message}. {error.hint}".strip())


def shown(reply: Reply) -> str:
    """A reply as the customer reads it."""
    return "\n".join((*reply.news, with_citations(reply.text, reply.citations, reply.also)))


def _say(text: str) -> None:
    print(text, flush=True)


async def _lines() -> AsyncIterator[str]:
    """Lines of stdin. The thread that reads them may stay in its read for ever, so nobody waits for it at the end."""
    loop, lines = asyncio.get_running_loop(), asyncio.Queue[str]()

    def read() -> None:
        line = "\n"
        while line:
            line = sys.stdin.readline()
            with suppress(RuntimeError):  # the loop is closed, and nobody listens
                loop.call_soon_threadsafe(lines.put_nowait, line)

    threading.Thread(target=read, daemon=True).start()
    while line := await lines.get():
        yield line
