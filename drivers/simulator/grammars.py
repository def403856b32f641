"""A checker of grammars without a process: what contains `bad` is none. Counts what it was asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Event

from llmos.kernel.ports.engine import Grammar
from llmos.syscalls.abi.errors import InvalidArgument

_PATIENCE = 30.0


@dataclass(slots=True)
class SimulatedChecker:
    """Checks nothing before `free` is set."""

    asked: list[str] = field(default_factory=list)
    free: Event = field(default_factory=Event)

    def check(self, grammar: Grammar) -> None:
        self.free.wait(_PATIENCE)
        self.asked.append(grammar.text)
        if "bad" in grammar.text:
            raise InvalidArgument("the grammar is bad", "another")

    def close(self) -> None:
        self.free.set()
