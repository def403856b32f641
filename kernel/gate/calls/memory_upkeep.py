"""What memory needs from time to time: what has expired is erased, and the encoder is asked for again.

It does not know calls. Rule: a tick that finds work left over goes on at once, so that nothing heaps up.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from llmos.kernel.core.process import Process
from llmos.kernel.gate.calls.vectors import Vectors
from llmos.kernel.ports.memory import Context, Memory, Usage
from llmos.syscalls.abi.errors import Error
from llmos.syscalls.abi.messages import Metric
from llmos.syscalls.abi.words import Pid

TICK_SECONDS = 30.0

log = logging.getLogger(__name__)


class Upkeep:
    """Ticks. Belongs to the thread of its event loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        memory: Memory,
        vectors: Vectors,
        clock: Callable[[], float] = time.time,
        every: float = TICK_SECONDS,
    ) -> None:
        self._loop = loop
        self._memory = memory
        self._vectors = vectors
        self._clock = clock
        self._every = every
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def start(self) -> None:
        """Tick now and then."""
        self._vectors.probe()
        self._sweep()

    def close(self) -> None:
        """Do not tick any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def forked(self, parent: Process, children: tuple[Pid, ...]) -> None:
        """Children have the context of their parent."""
        heirs = tuple(Context(pid, parent.principal, parent.tenant) for pid in children)
        self._memory.inherit(parent.pid, heirs, self._clock())

    def _sweep(self) -> None:
        asyncio.wrap_future(self._memory.sweep(self._clock()), loop=self._loop).add_done_callback(self._swept)

    def _swept(self, sweep: asyncio.Future[int]) -> None:
        if self._closed:
            return
        try:
            erased = sweep.result()
        except Error as error:
            log.warning("what has expired in memory cannot be erased: %s", error.message)
            erased = 0
        if erased:
            self._sweep()
        else:
            self._timer = self._loop.call_later(self._every, self.start)


def memory_metrics(usage: Usage) -> tuple[Metric, ...]:
    """What memory holds, for `sys.metrics`."""
    rows = (
        ("memory_items", usage.items, "items in long-term memory"),
        ("memory_versions", usage.versions, "versions of them"),
        ("memory_bytes", usage.bytes, "bytes that they count against their owners' limits"),
        ("memory_unembedded", usage.unembedded, "latest versions that wait for their vector"),
        ("memory_index_bytes", usage.index_bytes, "memory that vector indexes take"),
    )
    return tuple(Metric(name, float(value), text) for name, value, text in rows)
