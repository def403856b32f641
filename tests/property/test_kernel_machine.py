"""Any sequence of events keeps every invariant, and nobody ever sees a token that an undisturbed run would not give."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from llmos.drivers.simulator.engine import simulated_ready
from llmos.kernel.core import effects as fx
from llmos.kernel.core import events as ev
from llmos.kernel.core import invariants
from llmos.syscalls.abi.errors import Error
from llmos.syscalls.abi.words import Limits, Pid, PriorityClass, Signal, State
from tests.simulation import Harness

pick = st.integers(min_value=0, max_value=1000)


class KernelMachine(RuleBasedStateMachine):
    """Random calls, signals, steps and crashes against a small pool."""

    @initialize(
        lookahead=st.integers(0, 1),
        device_pages=st.integers(3, 12),
        host_pages=st.integers(0, 24),
        policy=st.sampled_from(["fair", "fcfs", "priority", "mlfq", "edf"]),
        aging=st.sampled_from([0.005, 10.0]),
    )
    def start(self, lookahead: int, device_pages: int, host_pages: int, policy: str, aging: float) -> None:
        ready = simulated_ready(
            lookahead=lookahead, device_pages=device_pages, host_pages=host_pages, step_tokens=8, max_batch=3
        )
        self.harness = Harness(ready, policy, aging)

    def process(self, number: int) -> Pid | None:
        pids = [process.pid for process in self.harness.kernel.table]
        return pids[number % len(pids)] if pids else None

    @rule(
        priority=st.sampled_from(PriorityClass),
        principal=st.sampled_from(["alice", "bob"]),
        length=st.integers(1, 20),
        first=st.integers(1, 2),
        children=st.none() | st.integers(0, 2),
        context=st.none() | st.integers(5, 30),
        wall=st.none() | st.just(0.02),
    )
    def spawn(
        self,
        priority: PriorityClass,
        principal: str,
        length: int,
        first: int,
        children: int | None,
        context: int | None,
        wall: float | None,
    ) -> None:
        limits = Limits(context_tokens=context, wall_seconds=wall, children=children)
        pid = self.harness.spawn(principal, priority, limits=limits)
        self.attempt(ev.Append(pid, tuple(range(first, first + length)), None))

    @rule(number=pick, length=st.integers(1, 12))
    def append(self, number: int, length: int) -> None:
        pid = self.process(number)
        if pid is not None:
            self.attempt(ev.Append(pid, tuple(range(1, length + 1)), None))

    @rule(
        number=pick,
        max_tokens=st.integers(1, 16),
        ignore_eos=st.booleans(),
        seed=st.integers(0, 3),
        grammar=st.booleans(),
    )
    def generate(self, number: int, max_tokens: int, ignore_eos: bool, seed: int, grammar: bool) -> None:
        pid = self.process(number)
        if pid is None:
            return
        try:
            self.harness.generate(pid, max_tokens, ignore_eos, seed, grammar)
        except Error:
            invariants.check(self.harness.kernel)

    @rule(number=pick, signal=st.sampled_from(Signal))
    def signal(self, number: int, signal: Signal) -> None:
        pid = self.process(number)
        if pid is not None:
            self.attempt(ev.SendSignal(pid, signal, "alice"))

    @rule(number=pick, count=st.integers(1, 3))
    def fork(self, number: int, count: int) -> None:
        pid = self.process(number)
        if pid is None:
            return
        children = tuple(Pid(self.harness.next_pid + i) for i in range(count))
        self.harness.next_pid += count
        self.attempt(ev.Fork(pid, children))

    @rule(number=pick, keep=st.integers(0, 30))
    def truncate(self, number: int, keep: int) -> None:
        pid = self.process(number)
        if pid is not None:
            self.attempt(ev.Truncate(pid, keep))

    @rule(number=pick, out=st.booleans())
    def swap(self, number: int, out: bool) -> None:
        pid = self.process(number)
        if pid is not None:
            self.attempt(ev.SwapOut(pid) if out else ev.SwapIn(pid))

    @rule(number=pick)
    def prefetch(self, number: int) -> None:
        pid = self.process(number)
        if pid is not None:
            self.attempt(ev.Prefetch(pid))

    @rule(number=pick, lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4), same=st.booleans())
    def score(self, number: int, lengths: list[int], same: bool) -> None:
        pid = self.process(number)
        if pid is None:
            return
        first = 1 if same else 1 + number % 50
        try:
            self.harness.score(pid, tuple(tuple(range(first, first + length)) for length in lengths))
        except Error:
            invariants.check(self.harness.kernel)

    @rule(number=pick)
    def end_scoring(self, number: int) -> None:
        calls = [
            (process.parent, process.scorer.scoring.call)
            for process in self.harness.kernel.table
            if process.scorer is not None
        ]
        if calls:
            self.attempt(ev.EndScoring(*calls[number % len(calls)]))

    @rule(number=pick, stopped=st.booleans())
    def end_generation(self, number: int, stopped: bool) -> None:
        pid = self.process(number)
        if pid is not None:
            self.attempt(ev.EndGeneration(pid, stopped))

    @rule(number=pick, what=st.sampled_from(["a message", "a tool"]), over=st.booleans())
    def wait(self, number: int, what: str, over: bool) -> None:
        pid = self.process(number)
        if pid is not None:
            self.attempt(ev.Resume(pid, what) if over else ev.Await(pid, what))

    @rule(number=pick, on=st.booleans())
    def throttle(self, number: int, on: bool) -> None:
        pid = self.process(number)
        if pid is not None:
            self.attempt(ev.Throttle(pid, on))

    @rule(number=pick, priority=st.sampled_from(PriorityClass), weight=st.integers(1, 1000))
    def renice(self, number: int, priority: PriorityClass, weight: int) -> None:
        pid = self.process(number)
        if pid is not None:
            self.attempt(ev.Renice(pid, priority, weight, "alice"))

    @rule(number=pick, generated=st.integers(1, 20))
    def limit(self, number: int, generated: int) -> None:
        pid = self.process(number)
        if pid is not None:
            self.attempt(ev.SetLimits(pid, Limits(generated_tokens=generated), (), "alice"))

    @rule(number=pick)
    def reap(self, number: int) -> None:
        pid = self.process(number)
        if pid is not None and self.harness.kernel.table.get(pid).state is State.EXITED:
            self.harness.handle(ev.Reap(pid))

    @rule(steps=st.integers(1, 6))
    def steps(self, steps: int) -> None:
        for _ in range(steps):
            self.harness.step()

    @rule()
    def plan_ahead(self) -> None:
        self.harness.schedule()

    @rule()
    def tick(self) -> None:
        self.harness.handle(ev.Tick())

    @precondition(lambda self: self.harness.engine is not None)
    @rule(back=st.booleans())
    def crash(self, back: bool) -> None:
        self.harness.engine_dies()
        if back:
            self.harness.engine_up()

    @precondition(lambda self: self.harness.engine is None)
    @rule()
    def restart(self) -> None:
        self.harness.engine_up()

    def attempt(self, event: ev.Event) -> None:
        """A call may be refused; then nothing has changed."""
        try:
            self.harness.handle(event)
        except Error:
            invariants.check(self.harness.kernel)

    @invariant()
    def everybody_sees_a_prefix_of_the_undisturbed_run(self) -> None:
        if hasattr(self, "harness"):
            self.harness.check_prefixes()

    def teardown(self) -> None:
        """Whatever happened, everything comes to rest, finishes right, and leaves no page behind."""
        if not hasattr(self, "harness"):
            return
        harness = self.harness
        if harness.engine is None:
            harness.engine_up()
        for process in list(harness.kernel.table):
            if process.alive:
                harness.handle(ev.Throttle(process.pid, on=False))
                harness.signal(process.pid, Signal.CONT)
        harness.run()
        harness.check_prefixes()
        assert not any(engine.scorings for engine in harness.kernel.engines.values()), "a scoring never ended"
        for process in list(harness.kernel.table):
            self.finished_right(process.pid)
            if process.alive:
                harness.signal(process.pid, Signal.KILL)
            harness.handle(ev.Reap(process.pid))
        harness.run()
        assert len(harness.kernel.table) == 0
        for engine in harness.kernel.engines.values():
            assert engine.pager is not None
            assert all(page.references == 0 for page in engine.pager.pages)

    def finished_right(self, pid: Pid) -> None:
        process = self.harness.kernel.table.get(pid)
        assert process.run is None, (
            f"{pid} still runs after everything came to rest: {list(process.history)[-4:]} {process.run}"
        )
        ended = self.harness.ended.get(pid)
        if pid in self.harness.tokens:
            assert ended is not None, f"the generation of {pid} never ended"
        if isinstance(ended, fx.Finished) and ended.reason.value == "length" and not ended.detail:
            assert self.harness.tokens[pid] == self.harness.expected[pid]


TestKernelMachine = KernelMachine.TestCase
TestKernelMachine.settings = settings(
    max_examples=120, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
