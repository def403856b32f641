"""Any calls, cancellations and deaths of encoders: every text is encoded once and in order, and turns are fair."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from llmos.kernel.core.encoding import MOST_DEATHS, Batch, EncodeJob, EncodeQueue, make_job
from llmos.syscalls.abi.words import PriorityClass

BUDGET = 60
MOST_COST = 40
RANK = {kind: rank for rank, kind in enumerate(PriorityClass)}


class QueueMachine(RuleBasedStateMachine):
    """Drives a queue, and keeps its own record of what must have been encoded."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = EncodeQueue(max_tokens=MOST_COST)
        self.waiting: dict[EncodeJob, list[str]] = {}
        self.deaths: dict[EncodeJob, int] = {}
        self.batch: Batch = ()
        self.count = 0

    @rule(
        principal=st.sampled_from(["ann", "bob", "cid"]),
        priority=st.sampled_from([PriorityClass.INTERACTIVE, PriorityClass.NORMAL, PriorityClass.BATCH]),
        sizes=st.lists(st.integers(0, 200), min_size=1, max_size=30),
    )
    def call(self, principal: str, priority: PriorityClass, sizes: list[int]) -> None:
        texts = [f"{self.count + index}:".ljust(size, "x") for index, size in enumerate(sizes)]
        self.count += len(texts)
        job = make_job(principal, priority, texts)
        self.queue.add(job)
        self.waiting[job] = texts
        self.deaths[job] = 0

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def take_back(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(list(self.waiting)))
        self.queue.drop(job)
        del self.waiting[job]

    @precondition(lambda self: not self.batch)
    @rule()
    def cut(self) -> None:
        self.batch = self.queue.next(BUDGET)
        assert bool(self.batch) == bool(self.waiting)
        if self.batch:
            self._check_batch()

    @precondition(lambda self: self.batch)
    @rule()
    def finish(self) -> None:
        done = self.queue.finished(self.batch)
        for part in self.batch:
            if part.job in self.waiting:
                taken = self.waiting[part.job][: part.end - part.first]
                assert tuple(taken) == part.texts
                del self.waiting[part.job][: part.end - part.first]
                self.deaths[part.job] = 0
        assert done == [part.job for part in self.batch if self.waiting.get(part.job) == []]
        for job in done:
            del self.waiting[job]
        self.batch = ()

    @precondition(lambda self: self.batch)
    @rule()
    def lose(self) -> None:
        given_up = self.queue.lost(self.batch)
        for part in self.batch:
            if part.job in self.waiting:
                self.deaths[part.job] += 1
        dead = [job for job in self.waiting if self.deaths[job] == MOST_DEATHS]
        assert sorted(map(id, given_up)) == sorted(map(id, dead))
        for job in dead:
            del self.waiting[job]
        self.batch = ()

    @invariant()
    def what_waits_is_what_was_asked_for(self) -> None:
        assert set(self.queue) == set(self.waiting)
        assert self.queue.texts == sum(len(texts) for texts in self.waiting.values())

    def _check_batch(self) -> None:
        best = min(RANK[job.priority] for job in self.waiting)
        assert {RANK[part.job.priority] for part in self.batch} == {best}
        assert all(part.end > part.first == part.job.done for part in self.batch)
        if len(self.batch) > 1:
            assert all(part.end == len(part.job.texts) and not part.job.deaths for part in self.batch)
        cost = sum(min(MOST_COST, 2 + -(-size // 3)) for part in self.batch for size in part.job.sizes[part.first :])
        assert len(self.batch) == 1 or cost <= BUDGET


TestQueue = QueueMachine.TestCase
