"""A kernel core with many processes and an engine that answers at once; only the core's own time is counted."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from itertools import count

from llmos.kernel.core import effects as fx
from llmos.kernel.core import events as ev
from llmos.kernel.core.engine import CoreSettings
from llmos.kernel.core.kernel import Kernel
from llmos.kernel.core.policy import FAIR
from llmos.kernel.core.sharing import Breadth, ShareScope
from llmos.kernel.ports.engine import Outcome, Plan, Ready, Sampled, SamplingParameters
from llmos.syscalls.abi.words import INIT, Limits, Pid, PriorityClass, Signal

MODEL = "none"
TOKEN = 7
PRINCIPALS = 100
STEP_SECONDS = 1e-4
"""How far the core's clock goes on at a plan: little, so that aging comes only when it is asked for."""


def engine_ready(device_pages: int, host_pages: int, max_batch: int = 256) -> Ready:
    """What an engine for this says."""
    return Ready(
        model=MODEL,
        fingerprint="none",
        device="none",
        dtype="none",
        weights="none",
        page_tokens=32,
        page_bytes=1,
        device_pages=device_pages,
        host_pages=host_pages,
        context_limit=1 << 16,
        vocabulary=1 << 16,
        end_tokens=(),
        step_tokens=2 * max_batch,
        max_batch=max_batch,
        lookahead=0,
    )


def answer(plan: Plan) -> Outcome:
    """Everything that the plan asks for has been done."""
    sampled = tuple(
        Sampled(chunk.sequence, chunk.start + max(1, len(chunk.tokens)), TOKEN) for chunk in plan.chunks if chunk.sample
    )
    return Outcome(plan.number, tuple(move.id for move in plan.moves), sampled)


class CoreLoad:
    """Processes that generate for ever, in turns: whoever has finished begins anew with its first context."""

    def __init__(self, ready: Ready, seed: int = 1) -> None:
        self.kernel = Kernel((MODEL,), CoreSettings(FAIR, 10.0, b"secret"))
        self.now = 0.0
        self.last: tuple[Plan, Outcome] | None = None
        """What crossed the port in the last step."""
        self._random = random.Random(seed)
        self._pids = count(2)
        self._lengths: dict[Pid, tuple[int, int]] = {}
        self._urgent: list[Pid] = []
        self.kernel.handle(ev.EngineUp(ready), self.now)

    def spawn(self, context: int, new: int, priority: PriorityClass = PriorityClass.BATCH) -> Pid:
        """A process with so many tokens of context, which will generate `new` at a time."""
        pid = Pid(next(self._pids))
        principal = f"principal-{pid % PRINCIPALS}"
        scope = ShareScope(Breadth.PRINCIPAL, "default", "", principal)
        self.kernel.handle(
            ev.Spawn(pid, INIT, f"p{pid}", "", principal, "default", scope, MODEL, priority, 100, None, Limits()),
            self.now,
        )
        tokens = tuple(self._random.randrange(1 << 16) for _ in range(context))
        self.kernel.handle(ev.Append(pid, tokens, None), self.now)
        self._lengths[pid] = context, new
        return pid

    def generate(self, pid: Pid) -> None:
        """Begin a generation."""
        new = self._lengths[pid][1]
        self.kernel.handle(ev.Generate(pid, SamplingParameters(), new, True), self.now)

    def adopt(self, pid: Pid) -> None:
        """A process that came by fork."""
        self._lengths[pid] = len(self.kernel.table.get(pid).tokens), 1

    def kill(self, pid: Pid) -> None:
        """End a process and forget it."""
        self.kernel.handle(ev.SendSignal(pid, Signal.KILL, "bench"), self.now)
        self.kernel.handle(ev.Reap(pid), self.now)
        del self._lengths[pid]

    def arrive(self, number: int) -> None:
        """So many interactive processes ask for an answer; those that have theirs come again."""
        while len(self._urgent) < number:
            self._urgent.append(self.spawn(8, 1, PriorityClass.INTERACTIVE))
        for _ in range(number):
            self.generate(self._urgent.pop())

    def step(self) -> float:
        """One plan and its outcome; the seconds that the core took for both."""
        self.now += STEP_SECONDS
        began = time.perf_counter()
        effects = self.kernel.handle(ev.Schedule(), self.now)
        planned = time.perf_counter()
        for effect in effects:
            if isinstance(effect, fx.Submit):
                self.last = effect.plan, answer(effect.plan)
        if self.last is None:
            raise AssertionError("nothing was planned")
        told = time.perf_counter()
        effects = self.kernel.handle(ev.StepDone(MODEL, self.last[1]), self.now)
        seconds = planned - began + time.perf_counter() - told
        self._again(effects)
        return seconds

    def _again(self, effects: Sequence[fx.Effect]) -> None:
        for effect in effects:
            if isinstance(effect, fx.Finished):
                pid = effect.pid
                context, _ = self._lengths[pid]
                self.kernel.handle(ev.Truncate(pid, context), self.now)
                if self.kernel.table.get(pid).priority is PriorityClass.INTERACTIVE:
                    self._urgent.append(pid)
                else:
                    self.generate(pid)
