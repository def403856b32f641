"""The state of the core: processes, engines, and what counts over all of them.

It changes nothing by itself; `kernel` says what happens when.
"""

from __future__ import annotations

import heapq

from llmos.kernel.core.engine import CoreSettings, Engine
from llmos.kernel.core.process import Process
from llmos.kernel.core.table import ProcessTable
from llmos.syscalls.abi.errors import NotFound
from llmos.syscalls.abi.words import Pid


class KernelState:
    """Processes and engines. Read its parts freely; only `Kernel.handle` changes them."""

    def __init__(self, models: tuple[str, ...], settings: CoreSettings) -> None:
        self.settings = settings
        self.table = ProcessTable()
        self.engines = {model: Engine.of(model, settings, self.table) for model in models}
        self.draining = False
        self._arrivals = 0
        self.wall: list[tuple[float, Pid]] = []
        """When limits of wall time bite: a heap."""

    def engine(self, model: str) -> Engine:
        """The engine of a model. Raises `NotFound`."""
        engine = self.engines.get(model)
        if engine is None:
            raise NotFound(f"no model {model!r} is served here", f"served: {', '.join(self.engines)}")
        return engine

    def engine_of(self, process: Process) -> Engine:
        """The engine that a process runs on."""
        return self.engines[process.model]

    def new_arrival(self) -> int:
        """Processes and generations are numbered as they come, to break ties."""
        self._arrivals += 1
        return self._arrivals

    def watch_wall(self, process: Process) -> None:
        """See to it that its limit of wall time bites."""
        if process.limits.wall_seconds is not None:
            heapq.heappush(self.wall, (process.created + process.limits.wall_seconds, process.pid))

    @property
    def next_tick(self) -> float | None:
        """When a `Tick` is due."""
        return self.wall[0][0] if self.wall else None

    @property
    def has_work(self) -> bool:
        """A plan could come of what there is; False is certain, True is not."""
        return any(engine.has_work for engine in self.engines.values())

    @property
    def busy(self) -> bool:
        """Some process has something to generate or to compute."""
        return any(process.run is not None for process in self.table)
