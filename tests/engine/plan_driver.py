"""Drives a runner by hand-made plans, in this process: hands out pages in a scattered order and keeps page
tables.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llmos.drivers.engine.host_memory import create_host_memory
from llmos.drivers.engine.loading import load_engine
from llmos.drivers.engine.settings import DeviceKind, EngineSettings, NumberFormat, WeightFormat
from llmos.kernel.ports.engine import (
    Chunk,
    Direction,
    Move,
    MoveId,
    Open,
    Outcome,
    Plan,
    Sampled,
    SamplingParameters,
    SequenceId,
)

TOP = SamplingParameters(top_logprobs=4)


@dataclass(slots=True, eq=False)
class Tracked:
    """A sequence as the driver sees it; `unsent` is where its page table changed since the engine last heard
    of it.
    """

    id: SequenceId
    tokens: list[int] = field(default_factory=list)
    fed: int = 0
    pages: list[int] = field(default_factory=list)
    unsent: int = 0


class PlanDriver:
    """One engine in this process, with its settings as small as tests need them."""

    def __init__(
        self,
        directory: Path,
        weights: WeightFormat = WeightFormat.EXACT,
        page_tokens: int = 8,
        device_pages: int = 96,
        host_memory: int = 1 << 20,
        device: DeviceKind = DeviceKind.CPU,
    ) -> None:
        descriptor = create_host_memory(host_memory)
        settings = EngineSettings(
            model="small",
            directory=str(directory),
            device=device,
            dtype=NumberFormat.FLOAT32,
            weights=weights,
            page_tokens=page_tokens,
            device_pages=device_pages,
            host_memory=host_memory,
            threads=1,
        )
        self.runner, self.ready = load_engine(settings, descriptor)
        os.close(descriptor)
        self.free = list(range(device_pages))
        random.Random(3).shuffle(self.free)
        self._number = 0
        self._moves = 0
        self._sequences = 0

    def submit(self, plan: Plan) -> Outcome:
        return self.runner.run(plan)

    def plan(
        self,
        chunks: Iterable[Chunk] = (),
        moves: Iterable[Move] = (),
        opened: Iterable[Open] = (),
        closed: Iterable[SequenceId] = (),
    ) -> Outcome:
        self._number += 1
        return self.runner.run(Plan(self._number, tuple(moves), tuple(closed), tuple(opened), tuple(chunks)))

    def open(self, tokens: Sequence[int], sampling: SamplingParameters = TOP, written: tuple[int, ...] = ()) -> Tracked:
        self._sequences += 1
        tracked = Tracked(SequenceId(self._sequences), list(tokens))
        self.plan(opened=[Open(tracked.id, sampling, written)])
        return tracked

    def close(self, tracked: Tracked) -> None:
        self.plan(closed=[tracked.id])
        self.free += tracked.pages
        tracked.pages.clear()

    def chunk(self, tracked: Tracked, count: int, sample: bool, fed_back: bool = False) -> Chunk:
        """A chunk of the sequence's next tokens, with the pages that it needs."""
        start, end = tracked.fed, tracked.fed + count
        while len(tracked.pages) * self.ready.page_tokens < end:
            tracked.pages.append(self.free.pop())
        tokens = () if fed_back else tuple(tracked.tokens[start:end])
        chunk = Chunk(tracked.id, start, tokens, tracked.unsent, tuple(tracked.pages[tracked.unsent :]), sample)
        tracked.fed, tracked.unsent = end, len(tracked.pages)
        return chunk

    def prefill(self, tracked: Tracked, sizes: Sequence[int] = ()) -> Sampled:
        """Feed all tokens, in chunks of these sizes and then the rest, and sample."""
        for size in sizes:
            self.plan([self.chunk(tracked, size, sample=False)])
        outcome = self.plan([self.chunk(tracked, len(tracked.tokens) - tracked.fed, sample=True)])
        return self.take(tracked, outcome)

    def decode(self, *sequences: Tracked, fed_back: bool = False) -> list[Sampled]:
        """One token for each."""
        outcome = self.plan([self.chunk(tracked, 1, sample=True, fed_back=fed_back) for tracked in sequences])
        return [self.take(tracked, outcome) for tracked in sequences]

    def take(self, tracked: Tracked, outcome: Outcome) -> Sampled:
        """Note the token that an outcome has for a sequence."""
        (sampled,) = (entry for entry in outcome.sampled if entry.sequence == tracked.id)
        assert sampled.position == len(tracked.tokens) == tracked.fed
        tracked.tokens.append(sampled.token)
        return sampled

    def generate(self, tokens: Sequence[int], count: int, sampling: SamplingParameters = TOP) -> list[int]:
        """Tokens of a sequence that runs alone."""
        tracked = self.open(tokens, sampling)
        self.prefill(tracked)
        for _ in range(count - 1):
            self.decode(tracked)
        self.close(tracked)
        return tracked.tokens[len(tokens) :]

    def move(self, direction: Direction, source: int, target: int) -> Move:
        self._moves += 1
        return Move(MoveId(self._moves), direction, source, target)
