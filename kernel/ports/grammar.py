"""The port to grammars: whether a text can be constrained by one at all. Masks are the engine's business."""

from __future__ import annotations

from typing import Protocol

from llmos.kernel.ports.engine import Grammar


class GrammarChecker(Protocol):
    """Checks what a stranger wrote, within bounds of time and memory."""

    def check(self, grammar: Grammar) -> None:
        """Raise `InvalidArgument`, which says why, for a grammar that means nothing, is not supported or too costly.

        `DeviceError` when nothing can be checked now, `TryAgain` when it is being closed.
        Blocks for up to some seconds; used by one thread at a time.
        """
        ...

    def close(self) -> None:
        """Release what it holds; a check under way in another thread ends with an error."""
        ...
