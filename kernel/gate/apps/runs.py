"""One run of an app: what it was told, where it stands, how it ended, and when it is begun again. Pure.

It does not know engines or clocks. Rules: states move by one table; who was asked to stop is not begun again; after
every end in a row the next beginning waits longer, and a run that was up long enough begins anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from llmos.kernel.loop.backoff import Backoff
from llmos.kernel.ports.sandbox import ContainerId, Ended
from llmos.syscalls.abi.apps import Restart, RunState

MOST_RESTARTS: Final = 100
"""Ends in a row after which a run is given up."""

KEPT_CONTAINERS: Final = 3
"""Ended containers of one run that are kept for what they have said."""

LONGEST_REASON: Final = 500
_KILLED: Final = 128

MOVES: Final = {
    RunState.STARTING: {RunState.RUNNING, RunState.WAITING, RunState.ENDED},
    RunState.RUNNING: {RunState.STOPPING, RunState.WAITING, RunState.ENDED},
    RunState.STOPPING: {RunState.ENDED},
    RunState.WAITING: {RunState.STARTING, RunState.ENDED},
    RunState.ENDED: set[RunState](),
}


@dataclass(slots=True, eq=False)
class Run:
    """Times in seconds since the epoch. Written by its methods only."""

    number: int
    arguments: tuple[str, ...]
    sandboxed: bool
    restart: Restart
    started: float
    state: RunState = RunState.STARTING
    container: ContainerId | None = None
    earlier: list[ContainerId] = field(default_factory=list)
    begun: float = 0.0
    ended: float | None = None
    status: int | None = None
    reason: str = ""
    restarts: int = 0
    stop_asked: bool = False
    early: Ended | None = None
    """Its program had ended before it was known to have begun."""
    backoff: Backoff = field(default_factory=Backoff)

    @property
    def alive(self) -> bool:
        """Whether something of it runs or will."""
        return self.state is not RunState.ENDED

    def gets(self, container: ContainerId) -> None:
        """Its program is about to be begun in this container."""
        self.container, self.early = container, None

    def begins(self, now: float) -> None:
        """Its program runs."""
        self._move(RunState.RUNNING)
        self.begun = now

    def again(self) -> None:
        """It is begun again; the last container stays for what it has said."""
        self._move(RunState.STARTING)
        self.restarts += 1
        if self.container is not None:
            self.earlier.append(self.container)
            self.container = None

    def stops(self) -> bool:
        """It was asked to stop; whether its program must be told, because it runs."""
        self.stop_asked = True
        match self.state:
            case RunState.RUNNING:
                self._move(RunState.STOPPING)
                return True
            case RunState.WAITING:
                self._end(self.ended or self.started)
                return False
            case _:
                return self.state is RunState.STOPPING

    def ends(self, how: Ended, now: float) -> float | None:
        """Its program has ended; seconds to wait before it is begun again, None for never."""
        self.status, self.reason = how.status, _reason(how, self.stop_asked)
        return self._after(
            now, self.restart is Restart.ALWAYS or (self.restart is Restart.ON_FAILURE and how.status != 0)
        )

    def fails(self, why: str, now: float) -> float | None:
        """It could not be begun; seconds to wait before the next try, None for never. The first try is the only one."""
        self.status, self.reason = None, f"could not be begun: {why}"[:LONGEST_REASON]
        return self._after(now, self.restarts > 0)

    def _after(self, now: float, again: bool) -> float | None:
        up = now - self.begun if self.state is RunState.RUNNING else 0.0
        wait = self.backoff.died(up)
        self.ended = now
        if self.stop_asked or not again or self.backoff.deaths > MOST_RESTARTS:
            self._end(now)
            return None
        self._move(RunState.WAITING)
        return wait

    def _end(self, now: float) -> None:
        self._move(RunState.ENDED)
        self.ended = now

    def _move(self, state: RunState) -> None:
        if state not in MOVES[self.state]:
            raise RuntimeError(
                f"run {self.number} cannot become {state.value}: it is {self.state.value} ({self.reason})"
            )
        self.state = state


def _reason(how: Ended, asked: bool) -> str:
    if how.out_of_memory and how.status >= _KILLED:
        return "killed: it needed more memory than its limit"
    if asked:
        return "stopped"
    if how.status > _KILLED:
        return f"killed by signal {how.status - _KILLED}"
    also = "; one of its processes was killed: they needed more memory than their limit" if how.out_of_memory else ""
    return f"exited with status {how.status}{also}"
