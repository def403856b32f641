"""A process: identity, context, page table, what it runs, what it cost, and its legal moves.

It does not know the scheduler or the pager; both keep their own records and refer to it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from llmos.kernel.core.pages import Page
from llmos.kernel.core.provenance import Span
from llmos.kernel.ports.engine import SamplingParameters, SequenceId
from llmos.syscalls.abi.errors import Error
from llmos.syscalls.abi.words import Limits, Pid, PriorityClass, Role, State

HISTORY = 64

LEGAL: dict[State, frozenset[State]] = {
    State.NEW: frozenset({State.WAITING, State.STOPPED, State.EXITED}),
    State.READY: frozenset({State.RUNNING, State.WAITING, State.STOPPED, State.EXITED}),
    State.RUNNING: frozenset({State.READY, State.WAITING, State.STOPPED, State.EXITED}),
    State.WAITING: frozenset({State.READY, State.NEW, State.STOPPED, State.EXITED}),
    State.STOPPED: frozenset({State.NEW, State.READY, State.WAITING, State.EXITED}),
    State.EXITED: frozenset(),
}
"""The one table of legal moves; new and waiting change into each other as a context gets its first or loses its
last token.
"""

RANK: dict[PriorityClass, int] = {
    PriorityClass.IDLE: 1,
    PriorityClass.BATCH: 2,
    PriorityClass.NORMAL: 3,
    PriorityClass.INTERACTIVE: 4,
    PriorityClass.REALTIME: 5,
}
"""Importance of a class; higher goes first."""


class IllegalMove(Exception):
    """A state change that the table forbids: a bug of the kernel. Carries the history of the process."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened, at `at` seconds."""

    at: float
    what: str


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class LimitSetters:
    """Who set the limits last, for the error that names them."""

    names: tuple[tuple[str, str], ...] = ()

    def of(self, limit: str) -> str:
        """Who set this limit."""
        return dict(self.names).get(limit, "the kernel")

    def with_(self, limits: tuple[str, ...], who: str) -> LimitSetters:
        """The same with `limits` set by `who`."""
        kept = tuple((name, by) for name, by in self.names if name not in limits)
        return LimitSetters(kept + tuple((name, who) for name in limits))


@dataclass(slots=True, eq=False)
class Generation:
    """What a client asked to be generated. Written by the kernel's outcome handling only."""

    sampling: SamplingParameters
    max_tokens: int
    ignore_eos: bool
    prompt_tokens: int
    started: float
    cached_tokens: int = 0
    generated: int = 0
    first_token: float | None = None
    throttled: bool = False
    """The reader does not keep up: do not plan until it does."""

    @property
    def ends_by_token(self) -> bool:
        """An end token ends it; one that a grammar allows always does."""
        return not self.ignore_eos or self.sampling.grammar is not None


@dataclass(slots=True, eq=False)
class Run:
    """One run of a process on the engine: a generation, or a prefill ahead of need (`generation` is None)."""

    sequence: SequenceId
    generation: Generation | None
    planned: int
    """Positions that submitted plans cover; at least the process's `computed`."""
    samples_in_flight: int = 0
    opened: bool = False
    """The engine knows the sequence."""
    unsent_from: int = 0
    """First entry of the page table that the engine does not know yet."""
    began: bool = False
    admitted_service: float = 0.0
    """Service since it was admitted last, in weighted tokens."""


@dataclass(slots=True, eq=False)
class Scoring:
    """One call that scores continuations of a context, and the processes that the kernel made for it.

    Written by `scoring` and by whatever ends one of its processes.
    """

    call: Pid
    context_tokens: int
    """Leading tokens that all of its processes share."""
    prefix: Process | None = None
    """Computes the shared context first, when that was not computed yet."""
    scorers: tuple[Process, ...] = ()
    """One for each continuation, in order."""
    begun: bool = False
    over: bool = False
    error: Error | None = None

    @property
    def processes(self) -> tuple[Process, ...]:
        """All of them."""
        return self.scorers if self.prefix is None else (self.prefix, *self.scorers)


@dataclass(slots=True, eq=False)
class Scorer:
    """What a process that belongs to a scoring has found: of its continuation's tokens, those that were computed."""

    scoring: Scoring
    logprobs: list[float] = field(default_factory=list)
    likeliest: list[bool] = field(default_factory=list)
    done: bool = False

    def take(self, position: int, logprobs: tuple[float, ...], likeliest: tuple[bool, ...]) -> None:
        """Scores of the tokens from `position` on; those that were computed again replace the earlier ones."""
        first = position - self.scoring.context_tokens
        self.logprobs[first:], self.likeliest[first:] = logprobs, likeliest


@dataclass(slots=True, eq=False)
class Process:
    """One inference context and all that belongs to it."""

    pid: Pid
    parent: Pid
    name: str
    app: str
    principal: str
    tenant: str
    model: str
    created: float
    priority: PriorityClass
    weight: int
    deadline: float | None
    """Absolute, in seconds of the kernel's clock."""
    limits: Limits
    limit_setters: LimitSetters = LimitSetters()
    state: State = State.NEW
    since: float = 0.0
    """When it came into this state."""
    children: set[Pid] = field(default_factory=set)
    tokens: list[int] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    """Where its tokens come from."""
    closed_role: Role | None = None
    """Role of the last chat message, when the context ends with a finished one."""
    pages: list[Page] = field(default_factory=list)
    computed: int = 0
    """Leading tokens whose KV is confirmed."""
    high_water: int = 0
    """Leading tokens that had been computed at some time; computing them again is a loss that is counted."""
    chain: list[bytes] = field(default_factory=list)
    """Content ids of the leading full pages."""
    run: Run | None = None
    scorer: Scorer | None = None
    """What it scores, if the kernel made it for that."""
    exit: Exit | None = None
    pending_signals: int = 0
    awaits: list[str] = field(default_factory=list)
    """What is waited for in its name, from outside: messages, tools."""
    swapping_out: bool = False
    swapping_in: bool = False
    swap_moved: int = 0
    share_key: bytes = b""
    """Key of the content ids of its pages: its share scope."""
    rank: int = field(init=False, default=0)
    """Importance: its class's, with what it gained by waiting. Written by `reclass` and `promote` only."""
    boost: int = field(init=False, default=0)
    """Ranks gained by waiting long; lost when it has had its turn."""
    preempted: bool = False
    fatal_steps: int = 0
    """Engines in a row that died in a step of this process."""
    skipped: int = 0
    """Steps it sat out for the prefill of a higher class."""
    service: float = 0.0
    """Weighted virtual token counter."""
    arrival: int = 0
    generated_tokens: int = 0
    tool_calls: int = 0
    preemptions: int = 0
    swapped_out_pages: int = 0
    swapped_in_pages: int = 0
    recomputed_tokens: int = 0
    wait_seconds: float = 0.0
    history: deque[Entry] = field(default_factory=lambda: deque(maxlen=HISTORY))

    def __post_init__(self) -> None:
        self.reclass(self.priority)

    def reclass(self, priority: PriorityClass) -> None:
        """Give it a class; what it gained by waiting is gone."""
        self.priority, self.boost = priority, 0
        self.rank = RANK[priority]

    def promote(self) -> bool:
        """One rank more for having waited long, below `realtime`; False when there is none."""
        if self.rank >= RANK[PriorityClass.INTERACTIVE]:
            return False
        self.boost += 1
        self.rank += 1
        return True

    @property
    def alive(self) -> bool:
        """It has not exited."""
        return self.state is not State.EXITED

    @property
    def generation(self) -> Generation | None:
        """The generation under way, if any."""
        return self.run.generation if self.run else None

    def note(self, now: float, what: str) -> None:
        """Remember that something happened."""
        self.history.append(Entry(now, what))

    def move(self, state: State, now: float, why: str) -> None:
        """Change state by the table of legal moves."""
        if state not in LEGAL[self.state]:
            past = "; ".join(f"{entry.at:.3f} {entry.what}" for entry in self.history)
            raise IllegalMove(f"process {self.pid}: {self.state} -> {state} ({why}); history: {past}")
        if self.state is State.READY:
            self.wait_seconds += now - self.since
        self.note(now, f"{self.state} -> {state}: {why}")
        self.state, self.since = state, now

    @property
    def shareable_tokens(self) -> int:
        """Leading tokens before whose last one it takes pages over; what it scores it has to compute."""
        return len(self.tokens) if self.scorer is None else self.scorer.scoring.context_tokens

    @property
    def at_rest(self) -> State:
        """The state in which it has nothing to do."""
        return State.WAITING if self.tokens or self.awaits else State.NEW

    @property
    def outstanding(self) -> int:
        """Tokens that could go into the next plan: known ones not yet planned, or the sampled one not yet known."""
        run = self.run
        if run is None:
            return 0
        known = len(self.tokens) - run.planned
        if run.generation is None:
            return max(known - 1, 0)
        if known > 0:
            return known
        planned_samples = run.generation.generated + run.samples_in_flight
        return 1 if run.samples_in_flight and planned_samples < run.generation.max_tokens else 0

    @property
    def decoding(self) -> bool:
        """Its next part of a step is one token."""
        return self.outstanding == 1
