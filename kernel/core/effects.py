"""What the core wants done outside: data that the shell performs, in order."""

from __future__ import annotations

from dataclasses import dataclass

from llmos.kernel.ports.engine import Plan
from llmos.syscalls.abi.errors import Error
from llmos.syscalls.abi.words import FinishReason, Pid, Usage


@dataclass(frozen=True, slots=True)
class Submit:
    """Send a plan to the engine of a model."""

    model: str
    plan: Plan


@dataclass(frozen=True, slots=True)
class Token:
    """A generation has a new token."""

    pid: Pid
    token: int
    logprob: float | None
    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """A generation ended."""

    pid: Pid
    reason: FinishReason
    usage: Usage
    detail: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A generation ended with an error; what was generated stays in the context."""

    pid: Pid
    error: Error


@dataclass(frozen=True, slots=True)
class Signalled:
    """The user signal arrived while a generation is under way."""

    pid: Pid


@dataclass(frozen=True, slots=True)
class Exited:
    """A process has exited and can be waited for."""

    pid: Pid
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Reaped:
    """An exited process was forgotten because there were too many."""

    pid: Pid


@dataclass(frozen=True, slots=True)
class SwapSettled:
    """A swap is done; `pages` were moved or freed. `short` when there was no room for all."""

    pid: Pid
    pages: int
    short: str


@dataclass(frozen=True, slots=True)
class Displaced:
    """A process had to give way to one of another principal."""

    pid: Pid
    by: Pid


@dataclass(frozen=True, slots=True)
class Scores:
    """Of a continuation: the log-probability of each token, and whether each was the likeliest."""

    logprobs: tuple[float, ...]
    likeliest: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class ScoringDone:
    """A call has its scores, in the order of its continuations."""

    call: Pid
    scores: tuple[Scores, ...]


@dataclass(frozen=True, slots=True)
class ScoringFailed:
    """A call that scores has ended without scores."""

    call: Pid
    error: Error


Effect = (
    Submit
    | Token
    | Finished
    | Failed
    | Signalled
    | Exited
    | Reaped
    | SwapSettled
    | Displaced
    | ScoringDone
    | ScoringFailed
)
