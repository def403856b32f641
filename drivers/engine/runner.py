"""Runs plans: moves, then one packed forward pass, then sampling.

Knows sequences and their page tables; does not know who owns a slot. A plan that makes no sense is the
kernel's bug and raises `PlanError`, which ends the engine.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from transformers import PreTrainedModel

from llmos.drivers.engine.attention import KEYWORD
from llmos.drivers.engine.masks import Begun, Constraint, GrammarMasks
from llmos.drivers.engine.pools import PagePools
from llmos.drivers.engine.sampling import choose, restrict, score
from llmos.drivers.engine.step import PagedStep, Scratch, Span, similar
from llmos.kernel.ports.engine import (
    Broken,
    Chunk,
    Move,
    Open,
    Outcome,
    Plan,
    Sampled,
    SamplingParameters,
    Scored,
    SequenceId,
)

_WASTE = {"cpu": 384, "cuda": 16384}
"""Padding, in tokens, that costs about as much as the attention operators of one more group."""

_STAND_IN = 0
"""Fed on in place of a token that could not be chosen: a plan that does so may be on its way already."""


class PlanError(Exception):
    """The kernel asked for something that cannot be: its bug."""


@dataclass(slots=True, eq=False)
class _Sequence:
    """What the engine knows of a sequence. `last`: the token sampled last, which may not be fed yet."""

    sampling: SamplingParameters
    pages: list[int] = field(default_factory=list)
    last: int | None = None
    constraint: Constraint | None = None


@dataclass(frozen=True, slots=True)
class _Part:
    """A chunk with its tokens known and its pages in place."""

    chunk: Chunk
    tokens: tuple[int, ...]
    span: Span

    @property
    def kept(self) -> int:
        """After how many of its last tokens logits are wanted."""
        return len(self.chunk.targets) or int(self.chunk.sample)


@dataclass(frozen=True, slots=True)
class _Found:
    """What came of the chunks of a plan."""

    sampled: tuple[Sampled, ...] = ()
    broken: tuple[Broken, ...] = ()
    scored: tuple[Scored, ...] = ()


class Runner:
    """Runs the plans of one engine, in order."""

    def __init__(self, model: PreTrainedModel, pools: PagePools, masks: GrammarMasks) -> None:
        self._model = model
        self._masks = masks
        self._vocabulary = int(model.config.get_text_config(decoder=True).vocab_size)
        self._pools = pools
        self._device = pools.device.device
        self._scratch = Scratch(pools.device, pools.geometry)
        self._sequences: dict[SequenceId, _Sequence] = {}

    @torch.inference_mode()
    def run(self, plan: Plan) -> Outcome:
        """One step. Raises `PlanError`; what torch raises is for the caller to die of."""
        started = time.perf_counter()
        for sequence in plan.close:
            self._close(sequence)
        for opening in plan.open:
            self._open(opening)
        self._move(plan.moves)
        moved = time.perf_counter()
        found = self._compute(plan.chunks) if plan.chunks else _Found()
        return Outcome(
            number=plan.number,
            moved=tuple(move.id for move in plan.moves),
            sampled=found.sampled,
            broken=found.broken,
            scored=found.scored,
            seconds=time.perf_counter() - started,
            move_seconds=moved - started,
        )

    def _close(self, sequence: SequenceId) -> None:
        if self._sequences.pop(sequence, None) is None:
            raise PlanError(f"sequence {sequence} is closed but was never opened")

    def _open(self, opening: Open) -> None:
        if opening.sequence in self._sequences:
            raise PlanError(f"sequence {opening.sequence} is opened twice")
        grammar = opening.sampling.grammar
        constraint = Constraint(grammar, list(opening.written)) if grammar is not None else None
        self._sequences[opening.sequence] = _Sequence(opening.sampling, constraint=constraint)

    def _move(self, moves: Sequence[Move]) -> None:
        for move in moves:
            try:
                self._pools.move(move)
            except IndexError as error:
                raise PlanError(f"move {move.id} ({move.direction.name}): {error}") from error
        if moves and self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def _compute(self, chunks: Sequence[Chunk]) -> _Found:
        if len({chunk.sequence for chunk in chunks}) < len(chunks):
            raise PlanError("a sequence has two chunks in one plan")
        parts = [self._prepare(chunk) for chunk in chunks]
        singles = [part for part in parts if part.span.count == 1]
        longer = [part for part in parts if part.span.count > 1]
        groups = self._grouped(singles)
        ordered = [*(part for group in groups for part in group), *longer]
        step = PagedStep(
            self._pools.device,
            self._pools.geometry,
            self._scratch,
            [[part.span for part in group] for group in groups],
            [part.span for part in longer],
        )
        sampling = [part for part in ordered if part.chunk.sample]
        begun = self._begin_masks(sampling)
        logits = self._forward(ordered, step)
        if len(sampling) == len(logits):
            return self._sample(sampling, logits, begun)
        return self._sample_and_score(ordered, logits, begun)

    def _sample_and_score(self, parts: Sequence[_Part], logits: Tensor, begun: Begun | None) -> _Found:
        """Tell the rows of those that sample from the rows of those that are scored."""
        rows: list[int] = []
        sampling, scored, row = [], [], 0
        for part in parts:
            if part.chunk.targets:
                scored.append(self._score(part, logits[row : row + part.kept]))
            elif part.chunk.sample:
                sampling.append(part)
                rows.append(row)
            row += part.kept
        return replace(self._sample(sampling, logits[rows], begun), scored=tuple(scored))

    def _score(self, part: _Part, logits: Tensor) -> Scored:
        logprobs, likeliest = score(logits, part.chunk.targets)
        return Scored(part.chunk.sequence, part.span.end - part.kept + 1, logprobs, likeliest)

    def _begin_masks(self, parts: Sequence[_Part]) -> Begun | None:
        """Have the masks computed while the model computes."""
        constraints = [self._sequences[part.chunk.sequence].constraint for part in parts]
        given = [constraint for constraint in constraints if constraint is not None]
        return self._masks.begin(given) if given else None

    def _grouped(self, singles: Sequence[_Part]) -> list[list[_Part]]:
        page_tokens = self._pools.geometry.page_tokens
        groups = similar([part.span for part in singles], page_tokens, _WASTE[self._device.type])
        return [[singles[index] for index in group] for group in groups]

    def _prepare(self, chunk: Chunk) -> _Part:
        """Settle a chunk's tokens and its sequence's page table."""
        sequence = self._sequences.get(chunk.sequence)
        if sequence is None:
            raise PlanError(f"sequence {chunk.sequence} has a chunk but was never opened")
        tokens = chunk.tokens or self._fed_back(chunk.sequence, sequence)
        if len(chunk.targets) > len(tokens) or (chunk.targets and chunk.sample):
            raise PlanError(f"sequence {chunk.sequence} has {len(chunk.targets)} targets for {len(tokens)} tokens")
        if not 0 <= chunk.pages_from <= len(sequence.pages):
            raise PlanError(f"sequence {chunk.sequence} has {len(sequence.pages)} pages, none from {chunk.pages_from}")
        sequence.pages[chunk.pages_from :] = chunk.pages
        span = Span(chunk.start, len(tokens), tuple(sequence.pages))
        self._check_tokens(chunk, (*tokens, *chunk.targets))
        self._check_pages(chunk, span)
        self._clear_fresh(chunk)
        return _Part(chunk, tokens, span)

    def _fed_back(self, name: SequenceId, sequence: _Sequence) -> tuple[int, ...]:
        if sequence.last is None:
            raise PlanError(f"sequence {name} shall go on from its last token but has sampled none")
        return (sequence.last,)

    def _check_tokens(self, chunk: Chunk, tokens: Sequence[int]) -> None:
        if chunk.start < 0:
            raise PlanError(f"sequence {chunk.sequence} has a chunk at position {chunk.start}")
        for token in tokens:
            if not 0 <= token < self._vocabulary:
                raise PlanError(f"sequence {chunk.sequence} is fed token {token} of a vocabulary of {self._vocabulary}")

    def _check_pages(self, chunk: Chunk, span: Span) -> None:
        slots = self._pools.device.shape[0]
        if len(span.table) * self._pools.geometry.page_tokens < span.end:
            raise PlanError(f"sequence {chunk.sequence} has {len(span.table)} pages, too few for {span.end} tokens")
        if not all(0 <= slot < slots for slot in chunk.pages):
            raise PlanError(f"sequence {chunk.sequence} gets slots {chunk.pages} of a pool of {slots} pages")

    def _clear_fresh(self, chunk: Chunk) -> None:
        """Clear the pages that hold nothing of the sequence yet."""
        for index, slot in enumerate(chunk.pages, chunk.pages_from):
            if index * self._pools.geometry.page_tokens >= chunk.start:
                self._pools.clear(slot)

    def _forward(self, parts: Sequence[_Part], step: PagedStep) -> Tensor:
        """Logits after the last tokens of every part that samples or scores: `[kept rows, vocabulary]`."""
        tokens = [token for part in parts for token in part.tokens]
        positions = [position for part in parts for position in range(part.span.start, part.span.end)]
        rows: list[int] = []
        row = -1
        for part in parts:
            row += part.span.count
            rows += range(row - part.kept + 1, row + 1)
        inputs = torch.tensor([tokens, positions], device=self._device)
        known = {"input_ids": inputs[:1], "position_ids": inputs[1:], "use_cache": False, KEYWORD: step}
        if not rows:
            self._model.base_model(**known)
            return inputs.new_empty((0, 1))
        kept = torch.tensor(rows, device=self._device)
        logits: Tensor = self._model(**known, logits_to_keep=kept).logits
        return logits[0]

    def _sample(self, parts: Sequence[_Part], logits: Tensor, begun: Begun | None) -> _Found:
        sequences = [self._sequences[part.chunk.sequence] for part in parts]
        positions = [part.span.end for part in parts]
        allowed = self._allowed(sequences, logits, begun) if begun is not None else logits
        choices = choose(logits, [sequence.sampling for sequence in sequences], positions, allowed) if parts else []
        sampled, broken = [], []
        for part, sequence, choice in zip(parts, sequences, choices, strict=True):
            constraint = sequence.constraint
            if choice is None or (constraint is not None and constraint.stuck):
                sequence.last = _STAND_IN
                message = constraint.stuck if constraint is not None else ""
                message = message or f"the logits for position {part.span.end} are not numbers"
                broken.append(Broken(part.chunk.sequence, message))
                continue
            sequence.last = choice.token
            if constraint is not None:
                constraint.take(choice.token)
            sampled.append(Sampled(part.chunk.sequence, part.span.end, choice.token, choice.logprob, choice.top))
        return _Found(tuple(sampled), tuple(broken))

    def _allowed(self, sequences: Sequence[_Sequence], logits: Tensor, begun: Begun) -> Tensor:
        """The logits without what grammars forbid."""
        rows = [row for row, sequence in enumerate(sequences) if sequence.constraint is not None]
        bits = torch.from_numpy(self._masks.finish(begun)).to(self._device)
        return restrict(logits, rows, bits)
