"""What takes back something that was begun, when what should follow is interrupted: by an error, Ctrl-C, a cancel.

Rule: whatever interrupted it is raised on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType


class IfInterrupted:
    """Run `undo` when the body of the `with` does not come to its end."""

    __slots__ = ("_undo",)

    def __init__(self, undo: Callable[[], object]) -> None:
        self._undo = undo

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._undo()


class AsyncIfInterrupted:
    """The same, with something to await."""

    __slots__ = ("_undo",)

    def __init__(self, undo: Callable[[], Awaitable[object]]) -> None:
        self._undo = undo

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            await self._undo()
