"""Keeps one engine running: starts it, reads its reports, notices its death, starts the next one.

It does not know what an engine does: decoders take plans, encoders orders. A death is an event, never an exception.
Deaths in a row back off; a refusal ends it, because a new engine would refuse too.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Generic, Protocol, TypeVar

from llmos.kernel.loop.backoff import Backoff
from llmos.kernel.ports.engine import EngineGone, EngineRefused

log = logging.getLogger(__name__)

Order = TypeVar("Order")
Report = TypeVar("Report")
Takes = TypeVar("Takes", contravariant=True)
Says = TypeVar("Says", covariant=True)


class EngineProcess(Protocol[Takes, Says]):
    """A started engine: what `EngineProcess` and `EncoderProcess` of the ports have in common."""

    @property
    def os_pid(self) -> int:
        """Its process id in the operating system."""
        ...

    def fileno(self) -> int:
        """Readable when `receive` has something to say, its death included."""
        ...

    def submit(self, order: Takes, /) -> None:
        """Queue an order. Raises `EngineGone`."""
        ...

    def receive(self) -> Says | None:
        """The next report, the first of which says that it is up; None when there is none yet. Raises `EngineGone`."""
        ...

    def kill(self) -> None:
        """End it at once, reap it and close the channel. May be called twice."""
        ...


class EngineLauncher(Protocol[Takes, Says]):
    """Starts engines of one model."""

    @property
    def model(self) -> str:
        """Its name."""
        ...

    def launch(self) -> EngineProcess[Takes, Says]:
        """Start one; returns at once. Raises `EngineGone`."""
        ...

    def close(self) -> None:
        """Release what all of them share."""
        ...


class EngineListener(Protocol[Takes]):
    """Who wants to know about an engine."""

    def engine_report(self, model: str, report: Takes) -> None:
        """It is ready, or an order was carried out."""
        ...

    def engine_down(self, model: str, reason: str, refused: bool) -> None:
        """It is gone."""
        ...


class Supervisor(Generic[Order, Report]):
    """One engine's life after life. Belongs to the thread of its event loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        launcher: EngineLauncher[Order, Report],
        listener: EngineListener[Report],
    ) -> None:
        self._loop = loop
        self._launcher = launcher
        self._listener = listener
        self._engine: EngineProcess[Order, Report] | None = None
        self._watched = -1
        self._backoff = Backoff()
        self._up_since: float | None = None
        self._restart: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def os_pid(self) -> int | None:
        """The engine's process id in the operating system, while there is one."""
        return self._engine.os_pid if self._engine is not None else None

    def start(self) -> None:
        """Start an engine; what comes of it is told to the listener."""
        self._restart = None
        try:
            self._engine = self._launcher.launch()
        except EngineGone as gone:
            self._down(gone)
            return
        self._watched = self._engine.fileno()
        self._loop.add_reader(self._watched, self._drain)
        log.info("an engine of %s starts", self._launcher.model)

    def submit(self, order: Order) -> None:
        """Send an order; if the engine is gone, the listener is told instead."""
        if self._engine is None:
            return
        try:
            self._engine.submit(order)
        except EngineGone as gone:
            self._down(gone)

    def close(self) -> None:
        """End the engine for good."""
        self._closed = True
        if self._restart is not None:
            self._restart.cancel()
        self._end_engine()
        self._launcher.close()

    def _drain(self) -> None:
        try:
            while self._engine is not None and (report := self._engine.receive()) is not None:
                if self._up_since is None:
                    self._up_since = self._loop.time()
                    log.info("the engine of %s is up, os pid %d", self._launcher.model, self._engine.os_pid)
                self._listener.engine_report(self._launcher.model, report)
        except EngineGone as gone:
            self._down(gone)

    def _down(self, gone: EngineGone) -> None:
        self._end_engine()
        if self._closed:
            return
        refused = isinstance(gone, EngineRefused)
        up = self._loop.time() - self._up_since if self._up_since is not None else 0.0
        self._up_since = None
        delay = self._backoff.died(up)
        reason = str(gone)
        if not refused:
            reason += f"; death {self._backoff.deaths} in a row, the next engine starts in {delay:g} s"
            self._restart = self._loop.call_later(delay, self.start)
        log.warning("engine of %s is gone: %s", self._launcher.model, reason)
        self._listener.engine_down(self._launcher.model, reason, refused)

    def _end_engine(self) -> None:
        if self._engine is None:
            return
        if self._watched >= 0:
            self._loop.remove_reader(self._watched)
            self._watched = -1
        self._engine.kill()
        self._engine = None
