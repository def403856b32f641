"""The core itself: `Kernel.handle(event, now) -> effects` is the only thing that changes anything.

An event that stands for a call raises an abi error before anything has changed, when the caller is at fault. Every
other
exception is a bug. The core has no clock, no randomness and no IO: time, pids and seeds come with the events.
"""

from __future__ import annotations

import heapq
from typing import assert_never

from llmos.kernel.core import calls, outcomes, scoring, signals, tool_calls
from llmos.kernel.core import events as ev
from llmos.kernel.core.effects import Effect
from llmos.kernel.core.planner import Planner
from llmos.kernel.core.process import Process
from llmos.kernel.core.state import KernelState


class Kernel(KernelState):
    """The state, and the one way to change it."""

    def handle(self, event: ev.Event, now: float) -> list[Effect]:
        """Take one event. `now` is seconds of a clock that never goes back."""
        effects = self._take(event, now)
        for engine in self.engines.values():
            if engine.due:
                effects += scoring.settle(engine, now)
        return effects

    def _take(self, event: ev.Event, now: float) -> list[Effect]:
        match event:
            case ev.Schedule():
                return self._schedule(now)
            case ev.StepDone(model, outcome):
                return outcomes.step_done(self.engine(model), outcome, now)
            case ev.EngineUp(ready):
                outcomes.engine_up(self.engine(ready.model), ready)
                return []
            case ev.EngineDown(model, reason, refused):
                return outcomes.engine_down(self.engine(model), reason, refused, now)
            case ev.Tick():
                return self._tick(now)
            case ev.SetDraining(on):
                self.draining = on
                return []
            case ev.Spawn():
                return calls.spawn(self, event, now)
            case ev.Fork():
                return calls.fork(self, event, now)
            case ev.Reap(pid):
                self._reap(self.table.get(pid))
                return []
            case ev.SendSignal():
                return signals.send(self, event, now)
            case ev.Renice():
                return calls.renice(self, event, now)
            case ev.SetLimits():
                return calls.set_limits(self, event, now)
            case ev.SwapOut(pid):
                return calls.swap_out(self, pid, now)
            case ev.SwapIn(pid):
                return calls.swap_in(self, pid)
            case ev.Append():
                return calls.append(self, event, now)
            case ev.Truncate(pid, length):
                return calls.truncate(self, pid, length, now)
            case ev.Prefetch(pid):
                return calls.prefetch(self, pid, now)
            case ev.Generate():
                return calls.generate(self, event, now)
            case ev.EndGeneration(pid, stopped):
                return calls.end_generation(self, pid, stopped, now)
            case ev.Throttle(pid, on):
                return calls.throttle(self, pid, on, now)
            case ev.Await(pid, what):
                return calls.await_(self, pid, what, now)
            case ev.Resume(pid, what):
                return calls.resume(self, pid, what, now)
            case ev.Score():
                return scoring.score(self, event, now)
            case ev.EndScoring(pid, call):
                return scoring.end(self, pid, call)
            case ev.CallTool(pid, what):
                return tool_calls.begin(self, pid, what, now)
            case _:
                assert_never(event)

    def _schedule(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        for engine in self.engines.values():
            while engine.wants_plan:
                planner, planned = Planner(engine, self.settings, now), engine.next_plan
                effects += planner.plan()
                if engine.due:
                    effects += scoring.settle(engine, now)
                    continue
                if engine.next_plan == planned and not planner.changed:
                    break
        return effects

    def _tick(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        while self.wall and self.wall[0][0] <= now:
            _, pid = heapq.heappop(self.wall)
            process = self.table.find(pid)
            if process is not None and process.alive:
                effects += signals.wall_time(self, process, now)
        return effects

    def _reap(self, process: Process) -> None:
        self.table.reap(process)
        if not self.table.count(process.principal):
            for engine in self.engines.values():
                engine.queue.forget(process.principal)
