"""A kernel core and a simulated engine in one harness, for tests: events in, checked after each one."""

from __future__ import annotations

from collections import deque

from llmos.drivers.simulator.engine import (
    END,
    LIKELY,
    SimulatedEngine,
    empty_pool,
    next_token,
    score_of,
    simulated_ready,
)
from llmos.kernel.core import effects as fx
from llmos.kernel.core import events as ev
from llmos.kernel.core import invariants
from llmos.kernel.core.engine import CoreSettings
from llmos.kernel.core.kernel import Kernel
from llmos.kernel.core.pager import Pager
from llmos.kernel.core.policy import POLICIES
from llmos.kernel.core.process import Process
from llmos.kernel.core.sharing import Breadth, ShareScope
from llmos.kernel.ports.engine import Grammar, GrammarKind, Plan, Ready, SamplingParameters
from llmos.syscalls.abi.words import INIT, Limits, Pid, PriorityClass, Signal

MODEL = "sim"
GRAMMAR = Grammar(GrammarKind.REGEX, ".*")


class Harness:
    """Runs events against a core, performs its plans on a simulated engine, and remembers what each client saw."""

    def __init__(self, ready: Ready | None = None, policy: str = "fair", aging_seconds: float = 10.0) -> None:
        self.ready = ready or simulated_ready()
        self.kernel = Kernel((MODEL,), CoreSettings(POLICIES[policy], aging_seconds, b"secret"))
        self.host = empty_pool(self.ready.host_pages, self.ready.page_tokens)
        self.engine: SimulatedEngine | None = None
        self.plans: deque[Plan] = deque()
        self.now = 0.0
        self.next_pid = 2
        self.log: list[fx.Effect] = []
        self.tokens: dict[Pid, list[int]] = {}
        self.expected: dict[Pid, list[int]] = {}
        self.ended: dict[Pid, fx.Finished | fx.Failed] = {}
        self.exits: dict[Pid, fx.Exited] = {}
        self.wanted: dict[Pid, tuple[fx.Scores, ...]] = {}
        """What each scoring that is under way or done must find, by its call."""
        self.scored: dict[Pid, fx.ScoringDone | fx.ScoringFailed] = {}
        self.settled: list[fx.SwapSettled] = []
        self.engine_up()

    def handle(self, event: ev.Event) -> list[fx.Effect]:
        """One event; invariants are checked after it."""
        self.now += 0.001
        effects = self.kernel.handle(event, self.now)
        invariants.check(self.kernel)
        for effect in effects:
            self._perform(effect)
        return effects

    def _perform(self, effect: fx.Effect) -> None:
        self.log.append(effect)
        match effect:
            case fx.Submit(_, plan):
                self.plans.append(plan)
            case fx.Token(pid, token, _, _):
                self.tokens[pid].append(token)
            case fx.Finished(pid) | fx.Failed(pid):
                self.ended[pid] = effect
            case fx.Exited(pid):
                self.exits[pid] = effect
            case fx.SwapSettled():
                self.settled.append(effect)
            case fx.ScoringDone(call, scores):
                self.scored[call] = effect
                assert scores == self.wanted[call], f"scoring {call} found what is not so"
            case fx.ScoringFailed(call):
                self.scored[call] = effect
            case _:
                pass

    # --- the engine

    def engine_up(self) -> None:
        self.engine = SimulatedEngine(self.ready, self.host)
        self.handle(ev.EngineUp(self.ready))

    def engine_dies(self) -> None:
        self.engine = None
        self.plans.clear()
        self.handle(ev.EngineDown(MODEL, "killed by signal 9", refused=False))

    def schedule(self) -> None:
        self.handle(ev.Schedule())

    def step(self) -> bool:
        """Plan, and carry out the oldest plan; False when there was nothing to do."""
        self.schedule()
        if not self.plans or self.engine is None:
            return False
        outcome = self.engine.run(self.plans.popleft())
        self.handle(ev.StepDone(MODEL, outcome))
        return True

    def run(self, steps: int = 10_000) -> None:
        """Until nothing is left to do."""
        for _ in range(steps):
            if not self.step():
                return
        raise AssertionError("it never comes to rest")

    # --- calls

    def spawn(
        self,
        principal: str = "alice",
        priority: PriorityClass = PriorityClass.NORMAL,
        parent: Pid = INIT,
        limits: Limits = Limits(),
        weight: int = 100,
        deadline: float | None = None,
        tenant: str = "default",
    ) -> Pid:
        pid = Pid(self.next_pid)
        self.next_pid += 1
        scope = ShareScope(Breadth.PRINCIPAL, tenant, "", principal)
        self.handle(
            ev.Spawn(pid, parent, f"p{pid}", "", principal, tenant, scope, MODEL, priority, weight, deadline, limits)
        )
        return pid

    def fork(self, pid: Pid, count: int = 1) -> tuple[Pid, ...]:
        children = tuple(Pid(self.next_pid + i) for i in range(count))
        self.next_pid += count
        self.handle(ev.Fork(pid, children))
        return children

    def append(self, pid: Pid, tokens: tuple[int, ...]) -> None:
        self.handle(ev.Append(pid, tokens, None))

    def generate(
        self, pid: Pid, max_tokens: int = 8, ignore_eos: bool = False, seed: int = 0, grammar: bool = False
    ) -> None:
        context = list(self.kernel.table.get(pid).tokens)
        sampling = SamplingParameters(seed=seed, grammar=GRAMMAR if grammar else None)
        self.handle(ev.Generate(pid, sampling, max_tokens, ignore_eos))
        self.tokens[pid] = []
        self.ended.pop(pid, None)
        self.expected[pid] = undisturbed(context, max_tokens, ignore_eos, seed, grammar)

    def score(self, pid: Pid, continuations: tuple[tuple[int, ...], ...]) -> Pid:
        """Begin to score; the call."""
        pids = tuple(Pid(self.next_pid + index) for index in range(len(continuations) + 1))
        self.next_pid += len(pids)
        context = list(self.kernel.table.get(pid).tokens)
        self.wanted[pids[0]] = tuple(scores_of(context, continuation) for continuation in continuations)
        self.handle(ev.Score(pid, pids, continuations))
        return pids[0]

    def signal(self, pid: Pid, signal: Signal) -> None:
        self.handle(ev.SendSignal(pid, signal, "alice"))

    def with_context(
        self, length: int = 5, priority: PriorityClass = PriorityClass.NORMAL, principal: str = "alice", first: int = 1
    ) -> Pid:
        """A new process that has a context of `length` tokens."""
        pid = self.spawn(principal, priority)
        self.append(pid, tuple(range(first, first + length)))
        return pid

    def process(self, pid: Pid) -> Process:
        return self.kernel.table.get(pid)

    @property
    def pager(self) -> Pager:
        pager = self.kernel.engine(MODEL).pager
        assert pager is not None
        return pager

    def check_prefixes(self) -> None:
        """Everybody saw a prefix of what an undisturbed run gives."""
        for pid, tokens in self.tokens.items():
            expected = self.expected[pid]
            if tokens != expected[: len(tokens)]:
                raise AssertionError(f"process {pid} saw {tokens}, expected {expected}")


def scores_of(context: list[int], continuation: tuple[int, ...]) -> fx.Scores:
    """How likely a continuation is when nothing happens to it."""
    found = tuple(
        score_of([*context, *continuation[:index]], continuation[index]) for index in range(len(continuation))
    )
    return fx.Scores(found, tuple(score > LIKELY for score in found))


def undisturbed(
    context: list[int], max_tokens: int, ignore_eos: bool, seed: int = 0, grammar: bool = False
) -> list[int]:
    """What a generation gives when nothing happens to it; an end that a grammar allows is one."""
    tokens = list(context)
    for written in range(max_tokens):
        tokens.append(next_token(tokens, seed, written if grammar else None))
        if tokens[-1] == END and (grammar or not ignore_eos):
            break
    return tokens[len(context) :]
