"""One engine as the core sees it: its pools, who is ready, who runs, and which plans are in flight."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from llmos.kernel.core.pager import Pager
from llmos.kernel.core.pages import Page
from llmos.kernel.core.policy import FAIR, Policy
from llmos.kernel.core.process import Process, Run, Scoring
from llmos.kernel.core.queue import ReadyQueue
from llmos.kernel.core.table import ProcessTable
from llmos.kernel.ports.engine import Ready, SequenceId
from llmos.syscalls.abi.words import Pid


@dataclass(frozen=True, slots=True)
class CoreSettings:
    """What the core can be told from outside. `secret` keys the hashes of shared prefixes."""

    policy: Policy = FAIR
    aging_seconds: float = 10.0
    secret: bytes = b""
    max_processes: int = 1 << 17
    max_processes_each: int = 1 << 17
    """Of one principal, those that have exited and are not reaped included."""
    page_share: float = 1.0
    """Of the pages of both tiers, what one principal's processes may hold."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a plan in flight does for one process; `written` pages are pinned until its outcome."""

    process: Process
    run: Run
    start: int
    count: int
    sampled: bool
    written: tuple[Page, ...]


@dataclass(frozen=True, slots=True)
class InFlight:
    """A plan that was submitted and has no outcome yet."""

    number: int
    parts: tuple[Part, ...]


@dataclass(slots=True)
class EngineCounters:
    """What happened on an engine since the daemon started."""

    steps: int = 0
    step_seconds: float = 0.0
    move_seconds: float = 0.0
    prefill_tokens: int = 0
    decode_tokens: int = 0
    recomputed_tokens: int = 0
    preemptions: int = 0
    restarts: int = 0


@dataclass(slots=True, eq=False)
class Engine:
    """The core's record of one engine. `ready` is None while it starts; `refused` says why it never will."""

    model: str
    queue: ReadyQueue
    processes: ProcessTable
    ready: Ready | None = None
    geometry: Ready | None = None
    """What the engine said last; it stays known while a new one starts."""
    refused: str = ""
    detail: str = ""
    pager: Pager | None = None
    running: dict[Pid, Process] = field(default_factory=dict)
    swapping: dict[Pid, Process] = field(default_factory=dict)
    in_flight: deque[InFlight] = field(default_factory=deque)
    scorings: dict[Pid, Scoring] = field(default_factory=dict)
    """Calls that score, by their ids."""
    due: list[Scoring] = field(default_factory=list)
    """Scorings of which a process has come to its end: to be settled before the event that did it is over."""
    closing: list[SequenceId] = field(default_factory=list)
    counters: EngineCounters = field(default_factory=EngineCounters)
    next_plan: int = 1
    next_sequence: int = 1

    @classmethod
    def of(cls, model: str, settings: CoreSettings, processes: ProcessTable) -> Engine:
        """The record of an engine that has not started yet."""
        return cls(model, ReadyQueue(settings.policy, settings.aging_seconds), processes)

    def new_sequence(self) -> SequenceId:
        """An id that no sequence of this engine had."""
        self.next_sequence += 1
        return SequenceId(self.next_sequence - 1)

    def new_plan_number(self) -> int:
        """Plans are numbered in the order in which they are submitted."""
        self.next_plan += 1
        return self.next_plan - 1

    @property
    def has_work(self) -> bool:
        """A plan could come of what there is; False is certain, True is not."""
        moves = self.pager is not None and bool(self.pager.outbox)
        return bool(self.running or self.swapping or moves or len(self.queue))

    @property
    def wants_plan(self) -> bool:
        """It is up, and fewer plans are queued than it can use."""
        return self.ready is not None and len(self.in_flight) <= self.ready.lookahead
