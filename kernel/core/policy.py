"""Scheduling policies: pure functions that order processes inside a priority class.

Classes are strict, and whoever was preempted comes back first: no policy changes that. A policy says in which lane
a process
queues, how it is ordered in its lane, and when a running process must yield to a waiting one of its own class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llmos.kernel.core.process import Process
from llmos.syscalls.abi.words import PriorityClass

QUANTUM = 2048.0
"""Weighted tokens that a process may be ahead of a waiting one of its class before it yields.

It bounds the service gap between backlogged principals. Yielding costs a swap, so it must be worth more than reading
a usual prompt: with a smaller one, processes gave up the contexts that they had just computed before they wrote a word.
"""

INPUT_COST, OUTPUT_COST = 1.0, 2.0
"""Service charged per token fed from the context and per token generated (Sheng et al., Fairness in Serving LLMs,
OSDI 2024).
"""

STANDARD_WEIGHT = 100
"""The weight at which a token costs what the constants above say."""

Key = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """How to order inside a class."""

    name: str
    lane: Callable[[Process], str]
    """Lanes share the class by the service that each got; one lane: no sharing."""
    key: Callable[[Process], Key]
    """Order inside a lane, smallest first."""
    ahead: Callable[[Process, Process], float]
    """By how many weighted tokens the first process is ahead of the second, as far as the policy cares."""


def by_deadline(process: Process) -> Key:
    """Earliest deadline first; those without one last, in order of arrival. (Liu and Layland 1973.)"""
    return (process.deadline if process.deadline is not None else float("inf"), float(process.arrival))


def _one_lane(process: Process) -> str:
    return ""


def _never(running: Process, waiting: Process) -> float:
    return 0.0


def _service_ahead(running: Process, waiting: Process) -> float:
    return running.service - waiting.service


def _level(process: Process) -> float:
    return float(int(process.service / QUANTUM).bit_length())


def _levels_ahead(running: Process, waiting: Process) -> float:
    return (_level(running) - _level(waiting)) * (QUANTUM + 1)


FCFS = Policy("fcfs", _one_lane, lambda process: (float(process.arrival),), _never)
PRIORITY = Policy("priority", _one_lane, lambda process: (-float(process.weight), float(process.arrival)), _never)
EDF = Policy("edf", _one_lane, by_deadline, _never)
FAIR = Policy(
    "fair",
    lambda process: process.principal,
    lambda process: (process.service, float(process.arrival)),
    _service_ahead,
)
MLFQ = Policy("mlfq", _one_lane, lambda process: (_level(process), float(process.arrival)), _levels_ahead)

POLICIES: dict[str, Policy] = {policy.name: policy for policy in (FCFS, PRIORITY, FAIR, MLFQ, EDF)}


def policy_for(policy: Policy, process: Process) -> Policy:
    """`realtime` is always by deadline."""
    return EDF if process.priority is PriorityClass.REALTIME else policy
