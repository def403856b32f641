"""How long work tells what it is doing: a port of one method, a bar on the terminal, and silence.

Bars go to stderr, appear only on a terminal, and otherwise each task is one line when it begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Task(Protocol):
    """One piece of work under way."""

    def advance(self, amount: int) -> None:
        """So much more is done."""
        ...


class Reporter(Protocol):
    """Where progress is shown."""

    def task(self, description: str, total: int | None) -> AbstractContextManager[Task]:
        """Begin a piece of work of `total` units; None when nobody knows how many."""
        ...


class _SilentTask:
    def advance(self, amount: int) -> None:
        """Nobody listens."""


class SilentReporter:
    """For programs that show nothing."""

    @contextmanager
    def task(self, description: str, total: int | None) -> Iterator[Task]:
        """A task that nobody sees."""
        yield _SilentTask()


class _BarTask:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def advance(self, amount: int) -> None:
        self._progress.advance(self._task, amount)


class TerminalReporter:
    """Bars on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def task(self, description: str, total: int | None) -> Iterator[Task]:
        """Show one bar until the work ends, however it ends."""
        if not self._console.is_terminal:
            self._console.print(description, markup=False, highlight=False)
            yield _SilentTask()
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._console) as progress:
            yield _BarTask(progress, progress.add_task(description, total=total))
