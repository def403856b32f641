"""What was begun and does not come to its end is taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def undoing(undo: Callable[[], object]) -> Iterator[None]:
    """Undo what was done before, whatever ends the inside early; that goes on to the caller."""
    try:
        yield
    except BaseException:
        undo()
        raise
