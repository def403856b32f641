"""Whose texts an encoder takes next. Pure: jobs go in, batches come out, one batch at a time.

It does not know encoders, clocks or callers beyond their names. Rules:

- Classes are strict: a batch holds texts of the highest class that has any.
- Inside a class principals take turns by what they were served: the one with the least tokens is next. Who comes anew
  begins where the least served of the others is, and goes before it; nobody saves up turns by being away.
- A batch is either a part of one job that is larger than a batch, or whole (rests of) jobs: so a short job never
  waits for the end of a batch that was filled up with a long one, and it waits for one batch of another's at most.
- A job whose batch was lost with its encoder goes alone from then on, so that a text that kills encoders harms nobody
  else; after `MOST_DEATHS` in a row it is given up.
- What is done is done in order: nothing is lost, nothing is encoded twice unless an encoder died with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from llmos.syscalls.abi.errors import TryAgain
from llmos.syscalls.abi.words import PriorityClass

MOST_TEXTS, MOST_BYTES = 1 << 14, 1 << 25
"""What one principal may have waiting, in all classes together."""

MOST_DEATHS = 3
"""How many encoders may die in a row with texts of the same job."""

BYTES_A_TOKEN = 3
"""For the estimate of a text's tokens; punctuation alone can have three times as many, plain English has fewer."""

FRAME_TOKENS = 2
"""What tokenizers of this family put around a text."""


@dataclass(slots=True, eq=False)
class EncodeJob:
    """Texts of one caller. `done` of them are encoded; the queue alone writes that and `deaths`."""

    principal: str
    priority: PriorityClass
    texts: tuple[str, ...]
    sizes: tuple[int, ...]
    """Of the texts, in bytes."""
    done: int = 0
    deaths: int = 0
    dropped: bool = False

    @property
    def rest(self) -> int:
        """How many texts are not encoded yet."""
        return len(self.texts) - self.done


def make_job(principal: str, priority: PriorityClass, texts: Iterable[str]) -> EncodeJob:
    """A job that nobody has taken up yet."""
    kept = tuple(texts)
    return EncodeJob(principal, priority, kept, tuple(map(_size, kept)))


@dataclass(frozen=True, slots=True)
class Part:
    """Texts of one job that are encoded together: those from `first` to before `end`."""

    job: EncodeJob
    first: int
    end: int

    @property
    def texts(self) -> tuple[str, ...]:
        """What is to be encoded."""
        return self.job.texts[self.first : self.end]


Batch = tuple[Part, ...]


@dataclass(slots=True, eq=False)
class _Lane:
    """One principal's jobs of one class, oldest first, how many tokens it was served, and when last (0: never)."""

    jobs: deque[EncodeJob]
    served: int
    last: int = 0

    @property
    def turn(self) -> tuple[int, int]:
        """The least is next: less served first, then who was never or longest ago served."""
        return self.served, self.last


@dataclass(slots=True)
class _Waiting:
    """What one principal has waiting."""

    texts: int = 0
    bytes: int = 0


@dataclass(slots=True)
class EncodeQueue:
    """All jobs that are not done."""

    max_tokens: int = 512
    """The longest text of the model: no text counts for more."""
    _lanes: dict[PriorityClass, dict[str, _Lane]] = field(default_factory=lambda: {kind: {} for kind in PriorityClass})
    _waiting: dict[str, _Waiting] = field(default_factory=dict)
    _turns: int = 0

    def __iter__(self) -> Iterator[EncodeJob]:
        for lanes in self._lanes.values():
            for lane in lanes.values():
                yield from lane.jobs

    @property
    def texts(self) -> int:
        """How many texts wait or are under way."""
        return sum(waiting.texts for waiting in self._waiting.values())

    def add(self, job: EncodeJob) -> None:
        """Take up a job. Raises `TryAgain` when its principal would have too much waiting."""
        waiting = self._waiting.get(job.principal, _Waiting())
        _check_room(waiting, len(job.texts), sum(job.sizes))
        waiting.texts += len(job.texts)
        waiting.bytes += sum(job.sizes)
        self._waiting[job.principal] = waiting
        self._lane(job).jobs.append(job)

    def drop(self, job: EncodeJob) -> None:
        """Forget a job; what is under way of it counts for nothing. A job that is done already is no matter."""
        lane = self._lanes[job.priority].get(job.principal)
        if lane is not None and job in lane.jobs:
            job.dropped = True
            self._leave(job, job.rest, sum(job.sizes[job.done :]))
            lane.jobs.remove(job)
            self._close_lane(job)

    def next(self, budget: int) -> Batch:
        """The batch that is encoded next, of about `budget` tokens; empty when nothing waits.

        It is answered by `finished` or `lost` before the next one is cut.
        """
        for lanes in self._lanes.values():
            if lanes:
                return tuple(self._cut(lanes, budget))
        return ()

    def finished(self, batch: Batch) -> list[EncodeJob]:
        """A batch is encoded; the jobs that are done with it."""
        done = []
        for part in batch:
            job = part.job
            if job.dropped:
                continue
            job.done, job.deaths = part.end, 0
            self._leave(job, part.end - part.first, sum(job.sizes[part.first : part.end]))
            if not job.rest:
                self._lanes[job.priority][job.principal].jobs.remove(job)
                self._close_lane(job)
                done.append(job)
        return done

    def lost(self, batch: Batch) -> list[EncodeJob]:
        """The encoder died with a batch: its texts wait again. The jobs that are given up, and dropped."""
        given_up = []
        for part in batch:
            if part.job.dropped:
                continue
            self._lanes[part.job.priority][part.job.principal].served -= self._cost(part.job, part.first, part.end)
            part.job.deaths += 1
            if part.job.deaths >= MOST_DEATHS:
                self.drop(part.job)
                given_up.append(part.job)
        return given_up

    # --- inside

    def _cut(self, lanes: dict[str, _Lane], budget: int) -> Iterator[Part]:
        lane = min(lanes.values(), key=lambda lane: lane.turn)
        job = lane.jobs[0]
        if job.deaths or self._cost(job, job.done, len(job.texts)) > budget:
            yield self._take(lane, job, self._end(job, budget))
        else:
            yield from self._whole_jobs(lanes, budget)

    def _whole_jobs(self, lanes: dict[str, _Lane], budget: int) -> Iterator[Part]:
        """Rests of jobs that fit, by turns; a lane whose next job does not fit waits for another batch."""
        waiting = {name: deque(lane.jobs) for name, lane in lanes.items()}
        while waiting:
            name = min(waiting, key=lambda name: lanes[name].turn)
            job = waiting[name].popleft()
            cost = self._cost(job, job.done, len(job.texts))
            if cost > budget or job.deaths:
                del waiting[name]
                continue
            budget -= cost
            yield self._take(lanes[name], job, len(job.texts))
            if not waiting[name]:
                del waiting[name]

    def _take(self, lane: _Lane, job: EncodeJob, end: int) -> Part:
        self._turns += 1
        lane.served += self._cost(job, job.done, end)
        lane.last = self._turns
        return Part(job, job.done, end)

    def _end(self, job: EncodeJob, budget: int) -> int:
        """How far one batch gets: one text at least."""
        end = job.done
        while end < len(job.texts) and (end == job.done or self._cost(job, end, end + 1) <= budget):
            budget -= self._cost(job, end, end + 1)
            end += 1
        return end

    def _cost(self, job: EncodeJob, first: int, end: int) -> int:
        most = self.max_tokens
        return sum(min(most, FRAME_TOKENS - (-size // BYTES_A_TOKEN)) for size in job.sizes[first:end])

    def _lane(self, job: EncodeJob) -> _Lane:
        lanes = self._lanes[job.priority]
        if job.principal not in lanes:
            least = min((lane.served for lane in lanes.values()), default=0)
            lanes[job.principal] = _Lane(deque(), least)
        return lanes[job.principal]

    def _close_lane(self, job: EncodeJob) -> None:
        if not self._lanes[job.priority][job.principal].jobs:
            del self._lanes[job.priority][job.principal]

    def _leave(self, job: EncodeJob, texts: int, size: int) -> None:
        waiting = self._waiting[job.principal]
        waiting.texts -= texts
        waiting.bytes -= size
        if not waiting.texts:
            del self._waiting[job.principal]


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _check_room(waiting: _Waiting, texts: int, size: int) -> None:
    """What is alone always has room, as long as one call can be that large at all."""
    if waiting.texts and (waiting.texts + texts > MOST_TEXTS or waiting.bytes + size > MOST_BYTES):
        raise TryAgain(
            f"you have {waiting.texts} texts with {waiting.bytes} bytes waiting for the encoder; "
            f"the most is {MOST_TEXTS} texts and {MOST_BYTES} bytes",
            "wait for the answer of an earlier call, then send more",
        )
