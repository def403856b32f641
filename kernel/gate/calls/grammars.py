"""Grammars that callers bring: checked beside the loop before anything is begun with them.

Rules: one check at a time, for each caller in turn; a caller has a few that wait at most; one that was found good is
remembered by its digest.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from hashlib import blake2b

import msgspec

from llmos.kernel.core.authority import Authorized
from llmos.kernel.gate.calls.checks import Checks
from llmos.kernel.gate.calls.lanes import Lanes
from llmos.kernel.gate.channel import Channel
from llmos.kernel.ports.engine import Grammar, GrammarKind
from llmos.kernel.ports.grammar import GrammarChecker
from llmos.syscalls.abi.errors import InvalidArgument
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
    """Checks grammars, and remembers the good ones."""

    def __init__(self, loop: asyncio.AbstractEventLoop, checkers: Mapping[str, GrammarChecker]) -> None:
        self._checkers = checkers
        # A checker is used by one thread at a time.
        self._lanes = Lanes(loop, 1, "grammars")
        self._checks = Checks(self._lanes, MOST_WAITING, "grammars")
        self._good: OrderedDict[bytes, None] = OrderedDict()

    def check(self, by: Authorized, model: str, grammar: Grammar, then: Callable[[], None], channel: Channel) -> None:
        """Run `then` in the loop when the grammar is good, at once if that is known; else the caller is told.

        Raises `TryAgain`.
        """
        name = _digest(model, grammar)
        if name in self._good:
            self._good.move_to_end(name)
            then()
            return

        def good(_: None) -> None:
            self._remember(name)
            if not channel.over:
                then()

        self._checks.check(by, 1, lambda: self._checkers[model].check(grammar), good, channel)

    def close(self) -> None:
        """Give up what waits, and end the checkers."""
        for checker in self._checkers.values():
            checker.close()
        self._lanes.close()

    def _remember(self, name: bytes) -> None:
        self._good[name] = None
        while len(self._good) > _REMEMBERED:
            self._good.popitem(last=False)


def _digest(model: str, grammar: Grammar) -> bytes:
    return blake2b(msgspec.msgpack.encode((model, grammar)), digest_size=16).digest()
