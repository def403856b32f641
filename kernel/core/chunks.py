"""What the engine is told of a run beside tokens and pages: how it samples, and what it scores."""

from __future__ import annotations

from llmos.kernel.core.process import Process, Run
from llmos.kernel.ports.engine import Open, SamplingParameters


def targets(process: Process, start: int, end: int) -> tuple[int, ...]:
    """What is scored when positions from `start` to `end` are fed: what follows the context's last token and later."""
    first = max(start, process.shareable_tokens - 1)
    return tuple(process.tokens[first + 1 : end + 1])


def opening(process: Process, run: Run) -> Open:
    """What the engine needs to know of a run; its grammar goes on after what was generated already."""
    generation = run.generation
    if generation is None:
        return Open(run.sequence, SamplingParameters())
    written = process.tokens[generation.prompt_tokens :] if generation.sampling.grammar is not None else ()
    return Open(run.sequence, generation.sampling, tuple(written))
