"""`python -m customer_service load|chat|serve|tickets|reply|forget ...`: see the README."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Coroutine, Sequence
from dataclasses import asdict
from pathlib import Path

import llmos

from .customers import Customer, Past, pseudonyms
from .desk import Bounds
from .journal import to_stderr
from .library import FOLDER, Library
from .service import QUEUE, serve
from .terminal import chat
from .tickets import Tickets, TicketState


def main(arguments: Sequence[str]) -> int:
    """Run one command; the exit code is 1 when it failed, 130 when it was interrupted."""
    chosen = _parser().parse_args(arguments)
    try:
        asyncio.run(_until_signalled(_run(chosen)))
    except llmos.Error as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except asyncio.CancelledError:
        return 0
    return 0


async def _until_signalled(work: Coroutine[None, None, None]) -> None:
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await task


async def _run(chosen: argparse.Namespace) -> None:
    async with llmos.aconnect() as system:
        match chosen.command:
            case "load":
                await _load(system, chosen.copy)
            case "chat":
                await chat(system, chosen.customer, _bounds(chosen), to_stderr if chosen.log else _quiet)
            case "serve":
                await serve(system, _bounds(chosen), chosen.queue)
            case "tickets":
                await _tickets(system, None if chosen.all else TicketState.OPEN)
            case "reply":
                await Tickets(system).answer(chosen.number, chosen.text)
            case "forget":
                await _forget(system, chosen)


async def _load(system: llmos.AsyncSystem, copy: Path | None) -> None:
    """Read documents that are new or have changed; with `copy` after copying a folder into the app's files."""
    if copy is not None:
        await copy_folder(system, copy)
    done = await Library(system).refresh()
    for path, why in done.refused.items():
        print(f"not read: {path}: {why}", file=sys.stderr)
    print(
        f"{len(done.read)} documents read, {done.passages} passages; {len(done.unchanged)} unchanged, "
        f"{len(done.forgotten)} forgotten, {len(done.refused)} not read"
    )


async def copy_folder(system: llmos.AsyncSystem, folder: Path) -> None:
    """Put all files of a folder that this program can see into the library's folder."""
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        target = f"{FOLDER}/{path.relative_to(folder).as_posix()}"
        await system.files.mkdir(target.rpartition("/")[0], parents=True)
        await system.files.write_bytes(target, path.read_bytes())


async def _tickets(system: llmos.AsyncSystem, state: TicketState | None) -> None:
    """One JSON object a line."""
    for ticket in await Tickets(system).list(state):
        print(json.dumps(asdict(ticket), ensure_ascii=False))


async def _forget(system: llmos.AsyncSystem, chosen: argparse.Namespace) -> None:
    principal = chosen.principal or (await system.whoami()).name
    namespace = (await pseudonyms(system)).namespace(Customer(principal, chosen.customer))
    print(f"{await Past(system, namespace).forget()} messages forgotten")


def _bounds(chosen: argparse.Namespace) -> Bounds:
    return Bounds(at_work=chosen.at_work, priority=chosen.priority, model=not chosen.quote)


def _quiet(line: str) -> None:
    """The log of a conversation in the terminal would stand between its lines."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="customer_service", description="Answers customers out of documents.")
    command = parser.add_subparsers(dest="command", required=True)
    load = command.add_parser("load", help=f"read what is new in {FOLDER}/ of the app's files")
    load.add_argument("--copy", type=Path, metavar="FOLDER", help="copy this folder there first")
    talk = command.add_parser("chat", help="one customer, in the terminal")
    talk.add_argument("--customer", required=True)
    talk.add_argument("--log", action="store_true", help="write the log to stderr")
    serving = command.add_parser("serve", help="many customers, by the tool `ask`")
    serving.add_argument("--queue", type=int, default=QUEUE, help="calls open at once; more hear TryAgain")
    for each in (talk, serving):
        each.add_argument("--at-work", type=int, default=8, help="replies that are made at the same time")
        each.add_argument("--priority", default="normal")
        each.add_argument("--quote", action="store_true", help="quote documents, without the model")
    tickets = command.add_parser("tickets", help="tickets that are open, one JSON object a line")
    tickets.add_argument("--all", action="store_true")
    reply = command.add_parser("reply", help="answer a ticket")
    reply.add_argument("number")
    reply.add_argument("text")
    forget = command.add_parser("forget", help="erase what a customer said")
    forget.add_argument("--customer", required=True)
    forget.add_argument("--principal", help="who speaks for the customer; the app itself in `chat`")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
