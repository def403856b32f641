"""Grammars that callers bring: checked beside the loop before anything is begun with them.

Rules: one check at a time, in a thread of its own; a caller has a few that wait at most; one that was found good is
remembered by its digest.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b

import msgspec

from llmos.kernel.core.authority import Authorized
from llmos.kernel.gate.channel import Channel
from llmos.kernel.ports.engine import Grammar, GrammarKind
from llmos.kernel.ports.grammar import GrammarChecker
from llmos.syscalls.abi.errors import Error, InvalidArgument, TryAgain
from llmos.syscalls.abi.messages import Sampling

MOST_WAITING = 16
"""Grammars of one caller that may wait to be checked."""

_REMEMBERED = 1024


def grammar_of(sampling: Sampling) -> Grammar | None:
    """The grammar that a request asks for. Raises `InvalidArgument` when it asks for two."""
    if sampling.schema is not None and sampling.regex is not None:
        raise InvalidArgument("a generation follows a schema or a regex, not both", "leave one of them out")
    if sampling.schema is not None:
        return Grammar(GrammarKind.SCHEMA, sampling.schema, sampling.ignore_eos)
    if sampling.regex is not None:
        return Grammar(GrammarKind.REGEX, sampling.regex, sampling.ignore_eos)
    return None


class Grammars:
    """Checks grammars, for one caller after the other."""

    def __init__(self, loop: asyncio.AbstractEventLoop, checkers: Mapping[str, GrammarChecker]) -> None:
        self._loop = loop
        self._checkers = checkers
        self._thread = ThreadPoolExecutor(1, "grammars")
        self._good: OrderedDict[bytes, None] = OrderedDict()
        self._waiting: Counter[str] = Counter()

    def check(self, by: Authorized, model: str, grammar: Grammar, then: Callable[[], None], channel: Channel) -> None:
        """Run `then` in the loop when the grammar is good, at once if that is known; else the caller is told.

        Raises `TryAgain`.
        """
        name, who = _digest(model, grammar), by.principal.name
        if name in self._good:
            self._good.move_to_end(name)
            then()
            return
        if self._waiting[who] >= MOST_WAITING:
            raise TryAgain(f"{MOST_WAITING} grammars of {who} wait to be checked", "when they are")
        self._waiting[who] += 1
        checking = self._loop.run_in_executor(self._thread, self._checkers[model].check, grammar)
        checking.add_done_callback(lambda done: self._checked(done, name, who, then, channel))

    def close(self) -> None:
        """Give up what waits, and end the checkers."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        for checker in self._checkers.values():
            checker.close()
        self._thread.shutdown()

    def _checked(
        self, done: asyncio.Future[None], name: bytes, who: str, then: Callable[[], None], channel: Channel
    ) -> None:
        self._waiting -= Counter({who: 1})
        if done.cancelled():
            return
        try:
            done.result()
            self._remember(name)
            if not channel.over:
                then()
        except Error as error:
            channel.fail(error)

    def _remember(self, name: bytes) -> None:
        self._good[name] = None
        while len(self._good) > _REMEMBERED:
            self._good.popitem(last=False)


def _digest(model: str, grammar: Grammar) -> bytes:
    return blake2b(msgspec.msgpack.encode((model, grammar)), digest_size=16).digest()
