"""The apps that are installed, with their runs and the containers that wait for one.

It does not know calls, policies or engines. Rules: what is done to one app is done one after the other, under its lock;
ended runs are remembered, in bounded number, until their containers are discarded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from llmos.kernel.gate.apps.installed import Installed
from llmos.kernel.gate.apps.runs import Run
from llmos.kernel.ports.sandbox import ContainerId
from llmos.syscalls.abi.errors import LimitExceeded, NotFound

KEPT_RUNS: Final = 8
"""Ended runs of an app that are remembered."""

MOST_RUNS: Final = 64
"""Runs of an app at a time."""


@dataclass(slots=True, eq=False)
class App:
    """One installed app. Written by whoever holds its lock."""

    installed: Installed
    runs: dict[int, Run] = field(default_factory=dict)
    warm: list[ContainerId] = field(default_factory=list)
    warming: bool = False
    preparing: asyncio.Task[None] | None = None
    """What prepares the next container that waits, or did so last."""
    removed: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    wanted: tuple[tuple[str, ...], ...] = ()
    """Arguments of the runs that are to be begun with the daemon, as they are on the disk; under `writing`."""
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def alive(self) -> list[Run]:
        """Runs that have not ended for good."""
        return [run for run in self.runs.values() if run.alive]

    def run(self, number: int | None) -> Run:
        """One run, or the last. Raises `NotFound`."""
        name = self.installed.name
        if number is None:
            number = max(self.runs, default=0)
        found = self.runs.get(number)
        if found is None:
            what = f"run {number} of {name}" if number else f"run of {name}"
            raise NotFound(f"there is no {what}", "llmosctl app list")
        return found

    def check_room(self) -> None:
        """Raise `LimitExceeded` when too many run."""
        if len(self.alive) >= MOST_RUNS:
            raise LimitExceeded(f"{self.installed.name} runs {MOST_RUNS} times, the most there may be", "stop one")

    def forget_old(self) -> list[Run]:
        """Forget all ended runs but the last ones; those."""
        ended = [run for run in self.runs.values() if not run.alive]
        gone = ended[: max(0, len(ended) - KEPT_RUNS)]
        for run in gone:
            del self.runs[run.number]
        return gone


class House:
    """All of them."""

    def __init__(self) -> None:
        self._apps: dict[str, App] = {}
        self._numbers = 0

    def __iter__(self) -> Iterator[App]:
        return iter([app for _, app in sorted(self._apps.items())])

    def named(self, name: str) -> App:
        """An app. Raises `NotFound`."""
        found = self._apps.get(name)
        if found is None:
            raise NotFound(f"no app named {name} is installed", "llmosctl app list")
        return found

    def find(self, name: str) -> App | None:
        """An app, if there is one."""
        return self._apps.get(name)

    def put(self, installed: Installed) -> App:
        """An app is installed, or has another version."""
        app = self._apps.get(installed.name)
        if app is None:
            app = self._apps[installed.name] = App(installed)
        app.installed = installed
        return app

    def take_away(self, app: App) -> None:
        """It is not installed any more."""
        app.removed = True
        del self._apps[app.installed.name]

    def next_number(self) -> int:
        """The number of a new run."""
        self._numbers += 1
        return self._numbers

    def run_in(self, container: ContainerId) -> tuple[App, Run] | None:
        """Whose container it is, as far as it runs now."""
        for app in self._apps.values():
            for run in app.runs.values():
                if run.container == container:
                    return app, run
        return None
