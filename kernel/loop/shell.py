"""Runs the core in one thread: gives it the time, performs its effects, and tells those who wait.

The rules: what happens by itself goes through `tell`, what is done on somebody's behalf through `perform`, which takes
the membrane's proof and checks that it covers the event; effects are performed at once, in order; planning happens once
per turn of the event loop, after everything that has arrived was told. Nothing here decides anything about processes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import assert_never

from llmos.kernel.core import effects as fx
from llmos.kernel.core import events as ev
from llmos.kernel.core.authority import Authorized
from llmos.kernel.core.kernel import Kernel
from llmos.kernel.core.process import Exit, Process
from llmos.kernel.loop.authority import check
from llmos.kernel.loop.generation import GenerationInProgress
from llmos.kernel.loop.supervisor import Supervisor
from llmos.kernel.ports.engine import EngineLauncher, Ready, Report
from llmos.kernel.ports.text import TextCodec, Turn, TurnKind
from llmos.syscalls.abi.words import Pid

log = logging.getLogger(__name__)

OnExit = Callable[[Exit], None]
OnSwap = Callable[[int, str], None]
OnScores = Callable[[fx.ScoringDone | fx.ScoringFailed], None]


@dataclass(frozen=True, slots=True)
class Model:
    """What the kernel needs to serve one model."""

    launcher: EngineLauncher
    text: TextCodec


class Shell:
    """The running kernel. Belongs to the thread of its event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, kernel: Kernel, models: Mapping[str, Model]) -> None:
        self.loop = loop
        self.kernel = kernel
        self.models = models
        self.epoch = time.time() - loop.time()
        """Seconds of the epoch when the kernel's clock was 0."""
        self.on_engine_change: Callable[[], None] = lambda: None
        self.on_displaced: Callable[[Process, Process], None] = lambda victim, winner: None
        """Called when a process had to give way to one of another principal."""
        self.on_exited: list[Callable[[Pid], None]] = []
        """Called with the pid of every process that has exited."""
        self.on_forked: list[Callable[[Process, tuple[Pid, ...]], None]] = []
        """Called with every parent and its new children, which have its context."""
        self._supervisors = {name: Supervisor(loop, model.launcher, self) for name, model in models.items()}
        self._generations: dict[Pid, GenerationInProgress] = {}
        self._exits: dict[Pid, list[OnExit]] = {}
        self._swaps: dict[Pid, OnSwap] = {}
        self._scorings: dict[Pid, OnScores] = {}
        self._idle: list[Callable[[], None]] = []
        self._beside: set[object] = set()
        self._planning = False
        self._tick: asyncio.TimerHandle | None = None
        self._closed = False

    def start(self) -> None:
        """Start the engines."""
        for supervisor in self._supervisors.values():
            supervisor.start()

    def close(self) -> None:
        """End the engines and tell nobody anything any more."""
        self._closed = True
        if self._tick is not None:
            self._tick.cancel()
        for supervisor in self._supervisors.values():
            supervisor.close()

    # --- events

    @property
    def now(self) -> float:
        """The kernel's clock, in seconds."""
        return self.loop.time()

    def tell(self, event: ev.KernelEvent) -> None:
        """Tell the core what has happened."""
        self._handle(event)

    def perform(self, by: Authorized, event: ev.CallEvent) -> None:
        """Do what somebody may do. Raises the abi error of a call that is refused."""
        check(by, event, self.kernel)
        self._handle(event)

    def engine_report(self, model: str, report: Report) -> None:
        """An engine reported."""
        if isinstance(report, Ready):
            self.tell(ev.EngineUp(report))
            self.on_engine_change()
        else:
            self.tell(ev.StepDone(model, report))

    def engine_down(self, model: str, reason: str, refused: bool) -> None:
        """An engine is gone."""
        self.tell(ev.EngineDown(model, reason, refused))
        self.on_engine_change()

    # --- those who wait

    def generate(self, by: Authorized, event: ev.Generate, watcher: GenerationInProgress) -> None:
        """Begin a generation that `watcher` hears about. Raises abi errors."""
        check(by, event, self.kernel)
        effects = self.kernel.handle(event, self.now)
        self._generations[event.pid] = watcher
        self._perform(effects)
        self._plan_soon()

    def forked(self, parent: Process, children: tuple[Pid, ...]) -> None:
        """Tell who keeps book about contexts that there are more of one."""
        for told in self.on_forked:
            told(parent, children)

    def when_exited(self, by: Authorized, pid: Pid, callback: OnExit) -> Callable[[], None]:
        """Call back when a process has exited, and reap it; at once if it has. Returns how to take that back.

        Raises `NoSuchProcess`.
        """
        check(by, ev.Reap(pid), self.kernel)
        process = self.kernel.table.get(pid)
        if process.exit is not None:
            self._handle(ev.Reap(pid))
            callback(process.exit)
            return lambda: None
        waiting = self._exits.setdefault(pid, [])
        waiting.append(callback)
        return lambda: self._forget_wait(pid, callback)

    def when_swapped(self, by: Authorized, event: ev.SwapOut | ev.SwapIn, callback: OnSwap) -> None:
        """Swap, and call back with the number of pages and what there was no room for. Raises abi errors."""
        check(by, event, self.kernel)
        effects = self.kernel.handle(event, self.now)
        self._swaps[event.pid] = callback
        self._perform(effects)
        self._plan_soon()

    def when_scored(self, by: Authorized, event: ev.Score, callback: OnScores) -> None:
        """Score, and call back with what came of it. Raises abi errors."""
        check(by, event, self.kernel)
        effects = self.kernel.handle(event, self.now)
        self._scorings[event.call] = callback
        self._perform(effects)
        self._plan_soon()

    def when_idle(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back as soon as nothing is under way, in the core or beside it. Returns how to take that back."""
        self._idle.append(callback)
        self.loop.call_soon(self._tell_idle)
        return lambda: self._forget_idle(callback)

    def under_way(self) -> Callable[[], None]:
        """Work of a call begins that the core does not know. Returns how to say that it is over, once or more often."""
        mark = object()
        self._beside.add(mark)
        return lambda: self._over(mark)

    def turn_of(self, process: Process) -> Turn:
        """Where the conversation in a process's context stands."""
        if not process.tokens:
            return Turn(TurnKind.EMPTY)
        if process.closed_role is not None:
            return Turn(TurnKind.CLOSED, process.closed_role)
        geometry = self.kernel.engine_of(process).geometry
        return Turn(TurnKind.OPEN, ended=geometry is not None and process.tokens[-1] in geometry.end_tokens)

    def engine_os_pid(self, model: str) -> int | None:
        """The operating system's process id of a model's engine."""
        return self._supervisors[model].os_pid

    # --- inside

    def _handle(self, event: ev.Event) -> None:
        if self._closed:
            return
        self._perform(self.kernel.handle(event, self.now))
        self._plan_soon()
        self._arm_tick()

    def _perform(self, effects: list[fx.Effect]) -> None:
        for effect in effects:
            self._perform_one(effect)

    def _perform_one(self, effect: fx.Effect) -> None:
        match effect:
            case fx.Submit(model, plan):
                self._supervisors[model].submit(plan)
            case fx.Token(pid):
                self._token(pid, effect)
            case fx.Finished(pid):
                self._generations.pop(pid).finished(effect)
                self._tell_idle()
            case fx.Failed(pid):
                self._generations.pop(pid).failed(effect)
                self._tell_idle()
            case fx.Signalled(pid):
                self._generations[pid].signal()
            case fx.Exited(pid, code, reason):
                self._exited(pid, Exit(code, reason))
            case fx.Reaped(pid):
                log.info("process %d was reaped unseen: too many exited processes of its owner", pid)
            case fx.SwapSettled(pid, pages, short):
                self._swaps.pop(pid)(pages, short)
            case fx.ScoringDone(call) | fx.ScoringFailed(call):
                self._scorings.pop(call)(effect)
                self._tell_idle()
            case fx.Displaced(pid, by):
                self._displaced(pid, by)
            case _:
                assert_never(effect)

    def _displaced(self, pid: Pid, by: Pid) -> None:
        victim, winner = self.kernel.table.find(pid), self.kernel.table.find(by)
        if victim is not None and winner is not None:
            self.on_displaced(victim, winner)

    def _token(self, pid: Pid, token: fx.Token) -> None:
        watcher = self._generations.get(pid)
        if watcher is None or watcher.stopped:
            return
        if watcher.token(token):
            self.loop.call_soon(self._stop_string, pid, watcher)

    def _stop_string(self, pid: Pid, watcher: GenerationInProgress) -> None:
        if self._generations.get(pid) is watcher:
            self._handle(ev.EndGeneration(pid, stopped=True))

    def _exited(self, pid: Pid, exit: Exit) -> None:
        waiting = self._exits.pop(pid, [])
        settled = self._swaps.pop(pid, None)
        if settled is not None:
            settled(0, exit.reason)
        if waiting and self.kernel.table.find(pid) is not None:
            self.kernel.handle(ev.Reap(pid), self.now)
        for callback in waiting:
            callback(exit)
        for told in self.on_exited:
            told(pid)
        self._tell_idle()

    def _tell_idle(self) -> None:
        if self._idle and not self._beside and not self.kernel.busy:
            waiting, self._idle = self._idle, []
            for callback in waiting:
                callback()

    def _over(self, mark: object) -> None:
        self._beside.discard(mark)
        self._tell_idle()

    def _forget_wait(self, pid: Pid, callback: OnExit) -> None:
        waiting = self._exits.get(pid, [])
        if callback in waiting:
            waiting.remove(callback)
        if not waiting:
            self._exits.pop(pid, None)

    def _forget_idle(self, callback: Callable[[], None]) -> None:
        if callback in self._idle:
            self._idle.remove(callback)

    def _plan_soon(self) -> None:
        if not self._planning and self.kernel.has_work:
            self._planning = True
            self.loop.call_soon(self._plan)

    def _plan(self) -> None:
        self._planning = False
        if not self._closed:
            self._perform(self.kernel.handle(ev.Schedule(), self.now))

    def _arm_tick(self) -> None:
        due = self.kernel.next_tick
        if due is None or (self._tick is not None and not self._tick.cancelled() and self._tick.when() <= due):
            return
        if self._tick is not None:
            self._tick.cancel()
        self._tick = self.loop.call_at(due, self._on_tick)

    def _on_tick(self) -> None:
        self._tick = None
        self.tell(ev.Tick())
