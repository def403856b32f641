"""`python -m assistant [--session NAME]`: see the README."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence

import llmos

from .log import TakenOver
from .session import MOST_TOKENS, Session, open_session, went_away
from .terminal import Conversation, Interrupted, Terminal
from .transcript import BadTranscript

PATIENCE = 300.0
"""Seconds that a daemon may be away."""
_PAUSE = 0.5
_QUOTED = 60
"""Characters of the text behind which an answer goes on."""


def main(arguments: Sequence[str]) -> int:
    """Talk until the input ends; the exit status: 1 when it failed, 130 after Ctrl-C."""
    chosen = _parser().parse_args(arguments)
    terminal = Terminal()
    terminal.install()
    try:
        _talk(chosen, terminal)
    except llmos.Error as error:
        terminal.tell(f"error: {error.message}")
        if error.hint:
            terminal.tell(f"hint: {error.hint}")
        return 1
    except BadTranscript as error:
        terminal.tell(f"error: the transcript of {chosen.session} is broken: {error}")
        terminal.tell("hint: choose another session")
        return 1
    except TakenOver:
        terminal.tell(f"the session {chosen.session} goes on elsewhere")
        return 1
    except Interrupted:
        return terminal.status
    except BrokenPipeError:
        return 1
    return 0


def _talk(chosen: argparse.Namespace, terminal: Terminal) -> None:
    """Line by line; a daemon that goes away is waited for, and what was under way goes on in it."""
    lines, lost = terminal.lines(), 0.0
    conversation: Conversation | None = None
    while True:
        try:
            with llmos.connect() as system:
                former, conversation = conversation, _open(system, chosen, terminal, conversation)
                conversation.go_on(former)
                lost = 0.0
                _converse(conversation, lines)
                return
        except llmos.Error as error:
            if not lost:
                lost = time.monotonic()
                terminal.tell(f"{error.message}; waiting")
            if not went_away(error) or time.monotonic() - lost > PATIENCE:
                raise
            time.sleep(_PAUSE)


def _open(
    system: llmos.System, chosen: argparse.Namespace, terminal: Terminal, former: Conversation | None
) -> Conversation:
    """Open the session, and show what was written of it but not shown. `former` is from before the daemon was away."""
    session = open_session(system, chosen.session, terminal, chosen.model, chosen.max_tokens)
    if former is not None:
        _catch_up(former, session)
    elif chosen.shown is not None:
        _show_rest(session, len(session.transcript.exchanges) - 1, chosen.shown)
    _tell_where(session)
    return Conversation(session, terminal, former is not None and former.tools)


def _converse(conversation: Conversation, lines: Iterator[str]) -> None:
    for line in lines:
        if not conversation.take(line):
            return


def _catch_up(former: Conversation, session: Session) -> None:
    """What was written for the user, but not shown before the daemon went away."""
    pending = former.session.transcript.pending
    if pending is not None:
        _show_rest(session, len(former.session.transcript.exchanges) - 1, pending.shown)


def _show_rest(session: Session, place: int, shown: int) -> None:
    if 0 <= place < len(session.transcript.exchanges):
        exchange = session.transcript.exchanges[place]
        session.screen.show(exchange.text[shown:] + ("\n" if exchange.ended is not None else ""))


def _tell_where(session: Session) -> None:
    pending = session.transcript.pending
    if pending is not None and pending.text:
        session.screen.tell(f"the session {session.name} goes on behind: …{pending.text[-_QUOTED:]!r}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="assistant", description="Talks, uses tools, remembers, and goes on.")
    parser.add_argument("--session", default="main", metavar="NAME", help="which conversation [main]")
    parser.add_argument("--model", help="for a session that begins; by default the first that the daemon runs")
    parser.add_argument(
        "--max-tokens", type=int, default=MOST_TOKENS, metavar="N", help=f"of an answer [{MOST_TOKENS}]"
    )
    parser.add_argument(
        "--shown",
        type=int,
        metavar="N",
        help="characters of the last answer that were received; by default all that the transcript has",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
