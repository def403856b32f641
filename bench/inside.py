"""The engine without its kernel: its runner in this process, driven by the plans that a kernel would send.

Prefill is chunked under the engine's own budget of tokens a step, one sequence after the other; decoding takes one
token of every sequence a step, fed back by the engine.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmos.drivers.engine.host_memory import create_host_memory
from llmos.drivers.engine.loading import load_engine
from llmos.drivers.engine.settings import EngineSettings, WeightFormat
from llmos.kernel.ports.engine import Chunk, Open, Outcome, Plan, SamplingParameters, SequenceId

_HOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Timed:
    """Seconds until every sequence had its first token, seconds for the others, and the tokens of each sequence."""

    prefill: float
    decode: float
    tokens: tuple[tuple[int, ...], ...]


class InsideEngine:
    """One engine; a batch at a time."""

    def __init__(self, directory: Path, weights: WeightFormat, device_pages: int) -> None:
        descriptor = create_host_memory(_HOST_BYTES)
        settings = EngineSettings(
            "bench", str(directory), weights=weights, device_pages=device_pages, host_memory=_HOST_BYTES
        )
        self._runner, self.ready = load_engine(settings, descriptor)
        os.close(descriptor)
        self._plans = self._sequences = 0

    def generate(self, prompts: Sequence[Sequence[int]], new: int, step_tokens: int | None = None) -> Timed:
        """Greedy tokens after every prompt, with times."""
        batch = self._open(prompts, SamplingParameters())
        began = time.perf_counter()
        taken = self._prefill(batch, prompts, step_tokens or self.ready.step_tokens)
        first = time.perf_counter()
        for step in range(new - 1):
            for id, token in self._decode(batch, prompts, step):
                taken[id].append(token)
        ended = time.perf_counter()
        self._run((), closed=tuple(batch))
        return Timed(first - began, ended - first, tuple(tuple(taken[id]) for id in batch))

    def steps(self, prompts: Sequence[Sequence[int]], new: int, sampling: SamplingParameters) -> Iterator[float]:
        """Seconds of every step in which all of them get one token, as far as their caller goes on."""
        batch = self._open(prompts, sampling)
        self._prefill(batch, prompts, self.ready.step_tokens)
        for step in range(new - 1):
            began = time.perf_counter()
            self._decode(batch, prompts, step)
            yield time.perf_counter() - began
        self._run((), closed=tuple(batch))

    def _open(self, prompts: Sequence[Sequence[int]], sampling: SamplingParameters) -> list[SequenceId]:
        batch = [SequenceId(self._sequences + index + 1) for index in range(len(prompts))]
        self._sequences += len(batch)
        self._run((), opened=tuple(Open(id, sampling) for id in batch))
        return batch

    def _prefill(
        self, batch: Sequence[SequenceId], prompts: Sequence[Sequence[int]], step_tokens: int
    ) -> dict[SequenceId, list[int]]:
        taken: dict[SequenceId, list[int]] = {}
        chunks: list[Chunk] = []
        room = step_tokens
        for index, (id, prompt) in enumerate(zip(batch, prompts, strict=True)):
            start = 0
            while start < len(prompt):
                count = min(room, len(prompt) - start)
                chunks.append(self._chunk(index, id, prompt, start, count))
                start, room = start + count, room - count
                if room == 0 or (start == len(prompt) and index == len(batch) - 1):
                    taken |= {each.sequence: [each.token] for each in self._run(tuple(chunks)).sampled}
                    chunks, room = [], step_tokens
        return taken

    def _chunk(self, index: int, id: SequenceId, prompt: Sequence[int], start: int, count: int) -> Chunk:
        share = self.ready.device_pages // 32
        pages = tuple(range(index * share, (index + 1) * share)) if start == 0 else ()
        sample = start + count == len(prompt)
        return Chunk(id, start, tuple(prompt[start : start + count]), 0 if start == 0 else share, pages, sample)

    def _decode(
        self, batch: Sequence[SequenceId], prompts: Sequence[Sequence[int]], step: int
    ) -> list[tuple[SequenceId, int]]:
        share = self.ready.device_pages // 32
        chunks = tuple(
            Chunk(id, len(prompt) + step, (), share, (), True) for id, prompt in zip(batch, prompts, strict=True)
        )
        return [(each.sequence, each.token) for each in self._run(chunks).sampled]

    def _run(
        self, chunks: tuple[Chunk, ...], opened: tuple[Open, ...] = (), closed: tuple[SequenceId, ...] = ()
    ) -> Outcome:
        self._plans += 1
        return self._runner.run(Plan(self._plans, close=closed, open=opened, chunks=chunks))
