"""Runs plans on pages that hold token ids instead of keys and values.

Every page access is checked: a sequence must find, through its page table, exactly the tokens of its context. A
wrong slot, a
stale copy, a page written by two or a missing move raises `Corruption` at the step where a real engine would silently
attend to somebody else's keys. The next token is a pure function of the whole context, so that any disturbance that
is not supposed to matter can be told from one that does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from zlib import crc32

from llmos.kernel.ports.engine import (
    Chunk,
    Direction,
    Move,
    MoveId,
    Outcome,
    Plan,
    Ready,
    Sampled,
    SamplingParameters,
    Scored,
    SequenceId,
)

Cells = list[int | None]
VOCABULARY = 1000
END = 999
LIKELY = -2.0
"""Above this log-probability a token counts as the likeliest."""


class Corruption(AssertionError):
    """A sequence did not find its own tokens in its pages, or the plan names something that does not exist."""


def next_token(tokens: list[int], seed: int = 0, written: int | None = None) -> int:
    """The token after `tokens`: a pure function, `END` about once in a hundred.

    Under a grammar it depends on how many tokens were `written` under it too.
    """
    value = crc32(repr((tokens, seed) if written is None else (tokens, seed, written)).encode())
    return END if value % 97 == 0 else value % (VOCABULARY - 1)


def score_of(tokens: list[int], target: int) -> float:
    """The log-probability of a token after others: a pure function."""
    return -(crc32(repr((tokens, target)).encode()) % 1000) / 100


def simulated_ready(
    model: str = "sim",
    page_tokens: int = 4,
    device_pages: int = 16,
    host_pages: int = 32,
    context_limit: int = 256,
    step_tokens: int = 16,
    max_batch: int = 4,
    lookahead: int = 0,
) -> Ready:
    """What a simulated engine says when it is up."""
    return Ready(
        model=model,
        fingerprint="simulated",
        device="simulated",
        dtype="int",
        weights="none",
        page_tokens=page_tokens,
        page_bytes=page_tokens,
        device_pages=device_pages,
        host_pages=host_pages,
        context_limit=context_limit,
        vocabulary=VOCABULARY,
        end_tokens=(END,),
        step_tokens=step_tokens,
        max_batch=max_batch,
        lookahead=lookahead,
    )


@dataclass(slots=True)
class _Sequence:
    sampling: SamplingParameters
    table: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    last: int | None = None
    written: list[int] | None = None
    """What was written under its grammar, if it has one."""


class SimulatedEngine:
    """One engine. The host pool is given in, because it outlives engines."""

    def __init__(self, ready: Ready, host: list[Cells]) -> None:
        self.ready = ready
        self.host = host
        self._device = empty_pool(ready.device_pages, ready.page_tokens)
        self._sequences: dict[SequenceId, _Sequence] = {}
        self._number = 0

    def run(self, plan: Plan) -> Outcome:
        """Carry out one plan. Raises `Corruption`."""
        if plan.number <= self._number:
            raise Corruption(f"plan {plan.number} after plan {self._number}")
        self._number = plan.number
        for sequence in plan.close:
            del self._sequences[sequence]
        for opened in plan.open:
            if opened.sequence in self._sequences:
                raise Corruption(f"sequence {opened.sequence} is open already")
            written = list(opened.written) if opened.sampling.grammar is not None else None
            self._sequences[opened.sequence] = _Sequence(opened.sampling, written=written)
        moved = tuple(self._move(move) for move in plan.moves)
        done = [self._chunk(chunk) for chunk in plan.chunks]
        sampled = tuple(one for one in done if isinstance(one, Sampled))
        scored = tuple(one for one in done if isinstance(one, Scored))
        return Outcome(plan.number, moved, sampled, scored=scored)

    def _move(self, move: Move) -> MoveId:
        source = self._device if move.direction in (Direction.DEVICE_TO_HOST, Direction.DEVICE_TO_DEVICE) else self.host
        target = self.host if move.direction in (Direction.DEVICE_TO_HOST, Direction.HOST_TO_HOST) else self._device
        target[move.target] = list(source[move.source])
        return move.id

    def _chunk(self, chunk: Chunk) -> Sampled | Scored | None:
        sequence = self._sequences[chunk.sequence]
        del sequence.table[chunk.pages_from :]
        if len(sequence.table) != chunk.pages_from:
            raise Corruption(f"the page table of {chunk.sequence} has a gap before {chunk.pages_from}")
        sequence.table.extend(chunk.pages)
        tokens = chunk.tokens or (self._fed_back(chunk, sequence),)
        self._read(sequence, chunk.start)
        for offset, token in enumerate(tokens):
            self._write(sequence, chunk.start + offset, token)
        if chunk.targets:
            return self._score(sequence, chunk, chunk.start + len(tokens))
        if not chunk.sample:
            return None
        context = self._read(sequence, chunk.start + len(tokens))
        sequence.last = self._choose(sequence, context)
        return Sampled(chunk.sequence, len(context), sequence.last)

    def _score(self, sequence: _Sequence, chunk: Chunk, end: int) -> Scored:
        context, first = self._read(sequence, end), end - len(chunk.targets)
        scores = [score_of(context[: first + index + 1], target) for index, target in enumerate(chunk.targets)]
        return Scored(chunk.sequence, first + 1, tuple(scores), tuple(score > LIKELY for score in scores))

    def _choose(self, sequence: _Sequence, context: list[int]) -> int:
        written = sequence.written
        if written is None:
            return next_token(context, sequence.sampling.seed)
        if context[len(context) - len(written) :] != written:
            raise Corruption(f"{written} was written under the grammar, and the context is {context}")
        token = next_token(context, sequence.sampling.seed, len(written))
        written.append(token)
        return token

    def _fed_back(self, chunk: Chunk, sequence: _Sequence) -> int:
        if sequence.last is None:
            raise Corruption(f"sequence {chunk.sequence} has sampled nothing to feed back")
        return sequence.last

    def _read(self, sequence: _Sequence, length: int) -> list[int]:
        size = self.ready.page_tokens
        context: list[int] = []
        for position in range(length):
            cell = self._device[sequence.table[position // size]][position % size]
            if cell is None:
                raise Corruption(f"nothing was ever computed at position {position}")
            context.append(cell)
        if context[: len(sequence.tokens)] != sequence.tokens[:length]:
            raise Corruption(f"found {context}, wrote {sequence.tokens}")
        return context

    def _write(self, sequence: _Sequence, position: int, token: int) -> None:
        size = self.ready.page_tokens
        self._device[sequence.table[position // size]][position % size] = token
        if position < len(sequence.tokens):
            raise Corruption(f"position {position} is computed twice in one run")
        if position == len(sequence.tokens):
            sequence.tokens.append(token)


def empty_pool(pages: int, page_tokens: int) -> list[Cells]:
    """A pool of pages that hold nothing."""
    return [[None] * page_tokens for _ in range(pages)]
