"""The calls about the daemon as a whole.

Rule: how full the pools are, and what other tenants have, is shown to those who may read the metrics; others see what
they need to use the daemon.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from llmos.kernel.core import events as ev
from llmos.kernel.core import views
from llmos.kernel.core.authority import Authorized
from llmos.kernel.gate.calls.beside import in_threads
from llmos.kernel.gate.calls.handler import Handler, row
from llmos.kernel.gate.calls.memory_upkeep import memory_metrics
from llmos.kernel.gate.channel import Channel, Ending
from llmos.kernel.loop.encoder import EncoderService
from llmos.kernel.loop.shell import Shell
from llmos.kernel.ports.memory import MemoryReader, Usage
from llmos.kernel.security.membrane import Membrane
from llmos.kernel.security.objects import SYSTEM_TARGET
from llmos.syscalls.abi import messages as m
from llmos.syscalls.abi.encoders import EncoderInfo
from llmos.syscalls.abi.errors import TimedOut
from llmos.syscalls.abi.words import PROTOCOL_VERSION


@dataclass(frozen=True, slots=True)
class Facts:
    """What `sys.info` says about the daemon, and what only the daemon can do."""

    version: str
    home: str
    started: float
    stop: Callable[[], None]


class SystemCalls:
    """One method per call."""

    def __init__(
        self,
        shell: Shell,
        encoder: EncoderService,
        membrane: Membrane,
        facts: Facts,
        memory: MemoryReader,
        meters: Sequence[Callable[[], tuple[m.Metric, ...]]] = (),
    ) -> None:
        self._memory = memory
        self._shell = shell
        self._encoder = encoder
        self._kernel = shell.kernel
        self._membrane = membrane
        self._facts = facts
        self._meters = meters

    def handlers(self) -> dict[str, Handler]:
        """By the names of the calls."""
        return dict(
            (
                row("sys.info", m.Nothing, self.info),
                row("sys.metrics", m.Nothing, self.metrics),
                row("sys.drain", m.Drain, self.drain),
                row("sys.shutdown", m.Nothing, self.shutdown),
            )
        )

    def info(self, by: Authorized, request: m.Nothing, channel: Channel) -> None:
        who, kernel = by.principal, self._kernel
        whole = self._membrane.permits(who, SYSTEM_TARGET, "sys.metrics")
        living = sum(process.alive and (whole or process.tenant == who.tenant) for process in kernel.table)
        engines = (self._engine_info(name) for name in kernel.engines)
        channel.reply(
            m.SystemInfo(
                version=self._facts.version,
                protocol=PROTOCOL_VERSION,
                home=self._facts.home if whole else "",
                os_pid=os.getpid() if whole else None,
                started=self._facts.started,
                principal=who.name,
                draining=kernel.draining,
                scheduler=kernel.settings.policy.name,
                processes=living,
                engines=tuple(engine if whole else _without_load(engine) for engine in engines),
                encoders=(self._encoder.info if whole else _without_its_load(self._encoder.info),),
            )
        )

    def metrics(self, by: Authorized, request: m.Nothing, channel: Channel) -> None:
        def reply(usage: Usage) -> None:
            further = (metric for meter in self._meters for metric in meter())
            own = (*views.metrics(self._kernel), *self._encoder.metrics, *further)
            channel.reply(m.Metrics((*own, *memory_metrics(usage))))

        in_threads(self._shell.loop, self._memory.usage(), reply, channel)

    def drain(self, by: Authorized, request: m.Drain, channel: Channel) -> None:
        self._shell.perform(by, ev.SetDraining(not request.off))
        if request.off:
            channel.reply(m.Done())
            return
        _reply_when_idle(self._shell, request.timeout, channel)

    def shutdown(self, by: Authorized, request: m.Nothing, channel: Channel) -> None:
        channel.reply(m.Done())
        self._shell.loop.call_soon(self._facts.stop)

    def _engine_info(self, model: str) -> m.EngineInfo:
        return views.engine_info(self._kernel.engines[model], self._shell.engine_os_pid(model))


def _without_load(engine: m.EngineInfo) -> m.EngineInfo:
    return replace(
        engine,
        restarts=0,
        device_pages_free=None,
        device_pages_cached=None,
        host_pages_free=None,
        host_pages_cached=None,
        os_pid=None,
        detail="",
    )


def _without_its_load(encoder: EncoderInfo) -> EncoderInfo:
    return replace(encoder, restarts=None, waiting_texts=None, os_pid=None, detail="")


def _reply_when_idle(shell: Shell, timeout: float | None, channel: Channel) -> None:
    timer: asyncio.TimerHandle | None = None

    def idle() -> None:
        if timer is not None:
            timer.cancel()
        channel.reply(m.Done())

    def timed_out() -> None:
        forget()
        channel.fail(TimedOut(f"calls are still under way after {timeout} s", "llmosctl ps shows who generates"))

    def ended(ending: Ending) -> None:
        forget()
        if timer is not None:
            timer.cancel()

    forget = shell.when_idle(idle)
    if timeout is not None:
        timer = shell.loop.call_later(timeout, timed_out)
    channel.on_end(ended)
