"""`python -m recommender for|rate|like|why|find|talk|serve ...`: see the README."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

# Before numpy is loaded: threads of BLAS fight with the solver's, and implicit warns of them.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import llmos

from .ranking import WEIGHTS, Weights
from .ratings import check_user
from .recommender import Recommender, open_recommender
from .serving import offer
from .terminal import Terminal, complain


def main(arguments: Sequence[str]) -> int:
    """Run one command; the exit status is 1 when it failed, 130 when it was interrupted."""
    chosen = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _end)
    try:
        with llmos.connect() as system:
            recommender = open_recommender(system, weights=Weights(opinion=chosen.opinion))
            if recommender.damaged:
                print(f"{recommender.damaged} torn lines of the journal are passed over", file=sys.stderr)
            _run(chosen, system, recommender)
    except llmos.Error as error:
        complain(error)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _run(chosen: argparse.Namespace, system: llmos.System, recommender: Recommender) -> None:
    if chosen.command == "serve":
        offer(system, recommender)
        print("ready", file=sys.stderr, flush=True)
        system.tools.serve()
        return
    if chosen.command == "find":
        Terminal(recommender, check_user("nobody")).find(chosen.words)
        return
    terminal = Terminal(recommender, check_user(chosen.user))
    match chosen.command:
        case "for":
            terminal.recommend(chosen.count, chosen.why)
        case "rate":
            terminal.rate(chosen.item, chosen.stars)
        case "like":
            terminal.like(chosen.words)
        case "why":
            terminal.why(chosen.item)
        case "talk":
            print("`help` tells what there is", file=sys.stderr, flush=True)
            terminal.converse(sys.stdin)


def _end(number: int, frame: FrameType | None) -> None:
    """A clean end: connections close, and a handler that is under way is not answered."""
    sys.exit(0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="recommender", description="Recommends films, and says why.")
    parser.add_argument(
        "--opinion", type=float, default=WEIGHTS.opinion, help="how much the language model's opinion counts"
    )
    command = parser.add_subparsers(dest="command", required=True)
    recommend = command.add_parser("for", help="what a user should see next")
    recommend.add_argument("user")
    recommend.add_argument("--count", type=int, default=10)
    recommend.add_argument("--why", action="store_true", help="with an explanation for each")
    rate = command.add_parser("rate", help="keep a rating")
    for name in ("user", "item", "stars"):
        rate.add_argument(name)
    like = command.add_parser("like", help="keep what a user says he likes")
    like.add_argument("user")
    like.add_argument("words")
    why = command.add_parser("why", help="why a film may be one for a user")
    why.add_argument("user")
    why.add_argument("item")
    find = command.add_parser("find", help="films by words of their titles")
    find.add_argument("words")
    talk = command.add_parser("talk", help="a conversation with one user")
    talk.add_argument("user")
    command.add_parser("serve", help="tools for others: recommend, rate, like, explain")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
