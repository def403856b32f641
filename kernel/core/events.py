"""Everything that can happen to the core. The shell decides when and gives the time, the pids and the seeds.

Events that stand for a call raise an abi error, before anything has changed, when the caller is at fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from llmos.kernel.core.sharing import ShareScope
from llmos.kernel.ports.engine import Outcome, Ready, SamplingParameters
from llmos.syscalls.abi.words import Limits, Origin, OriginKind, Pid, PriorityClass, Role, Signal

SOMEBODY: Final = Origin(OriginKind.USER)
"""Where tokens come from of which nothing more is said."""


@dataclass(frozen=True, slots=True)
class Spawn:
    """Make a process that has the pid `pid`. `deadline` is absolute."""

    pid: Pid
    parent: Pid
    name: str
    app: str
    principal: str
    tenant: str
    scope: ShareScope
    model: str
    priority: PriorityClass
    weight: int
    deadline: float | None
    limits: Limits


@dataclass(frozen=True, slots=True)
class Fork:
    """Make children of `pid` that have the pids `children`."""

    pid: Pid
    children: tuple[Pid, ...]


@dataclass(frozen=True, slots=True)
class SendSignal:
    """`by` sent a signal."""

    pid: Pid
    signal: Signal
    by: str


@dataclass(frozen=True, slots=True)
class Reap:
    """Somebody has taken the exit status."""

    pid: Pid


@dataclass(frozen=True, slots=True)
class Renice:
    """Change class or weight; None leaves it."""

    pid: Pid
    priority: PriorityClass | None
    weight: int | None
    by: str


@dataclass(frozen=True, slots=True)
class SetLimits:
    """Set the limits that are not None, clear those named in `clear`."""

    pid: Pid
    limits: Limits
    clear: tuple[str, ...]
    by: str


@dataclass(frozen=True, slots=True)
class SwapOut:
    """Move the pages off the device; ends with the effect `SwapSettled`."""

    pid: Pid


@dataclass(frozen=True, slots=True)
class SwapIn:
    """Bring the pages to the device; ends with the effect `SwapSettled`."""

    pid: Pid


@dataclass(frozen=True, slots=True)
class Append:
    """Append tokens, which come from `origin`. `closed_role`: the context now ends with a finished message of this
    role.
    """

    pid: Pid
    tokens: tuple[int, ...]
    closed_role: Role | None
    origin: Origin = SOMEBODY


@dataclass(frozen=True, slots=True)
class Truncate:
    """Keep the first `length` tokens."""

    pid: Pid
    length: int


@dataclass(frozen=True, slots=True)
class Prefetch:
    """Compute the context ahead of need."""

    pid: Pid


@dataclass(frozen=True, slots=True)
class Generate:
    """Begin a generation."""

    pid: Pid
    sampling: SamplingParameters
    max_tokens: int
    ignore_eos: bool


@dataclass(frozen=True, slots=True)
class EndGeneration:
    """End the generation: by a stop string that was found in the text, or because nobody wants it any more."""

    pid: Pid
    stopped: bool


@dataclass(frozen=True, slots=True)
class Score:
    """Score continuations of a context. `pids` are for the processes that do it: one, which also names the call, for
    the context, and one for each continuation.
    """

    pid: Pid
    pids: tuple[Pid, ...]
    continuations: tuple[tuple[int, ...], ...]

    @property
    def call(self) -> Pid:
        """What the call is called."""
        return self.pids[0]


@dataclass(frozen=True, slots=True)
class EndScoring:
    """Nobody wants the scores any more."""

    pid: Pid
    call: Pid


@dataclass(frozen=True, slots=True)
class Throttle:
    """The reader of the generation's stream keeps up (`on` False) or not."""

    pid: Pid
    on: bool


@dataclass(frozen=True, slots=True)
class Await:
    """Somebody waits in the name of the process for `what`: a message, a tool. It is `waiting` when it is at rest."""

    pid: Pid
    what: str


@dataclass(frozen=True, slots=True)
class Resume:
    """One wait for `what` is over, by what came or by its end; without effect on a process that is gone."""

    pid: Pid
    what: str


@dataclass(frozen=True, slots=True)
class CallTool:
    """A tool is called in the name of the process, which waits for `what` until it is resumed; the limit counts it."""

    pid: Pid
    what: str


@dataclass(frozen=True, slots=True)
class EngineUp:
    """The engine of a model is ready."""

    ready: Ready


@dataclass(frozen=True, slots=True)
class EngineDown:
    """The engine is gone; `refused` for good."""

    model: str
    reason: str
    refused: bool


@dataclass(frozen=True, slots=True)
class StepDone:
    """An outcome came."""

    model: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Schedule:
    """Everything that has happened is told: plan the next steps."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: see to the limits of wall time."""


@dataclass(frozen=True, slots=True)
class SetDraining:
    """Take nothing new, or take it again."""

    on: bool


CallEvent = (
    Spawn
    | Fork
    | SendSignal
    | Reap
    | Renice
    | SetLimits
    | SwapOut
    | SwapIn
    | Append
    | Truncate
    | Prefetch
    | Generate
    | EndGeneration
    | Score
    | EndScoring
    | Throttle
    | Await
    | Resume
    | CallTool
    | SetDraining
)
"""What happens on somebody's behalf: performing one needs the membrane's proof."""

KernelEvent = EngineUp | EngineDown | StepDone | Schedule | Tick
"""What happens by itself."""

Event = CallEvent | KernelEvent
