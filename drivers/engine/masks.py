"""Which tokens the grammars of sequences allow next, computed beside the forward pass. Free of torch.

A `Constraint` is one sequence's grammar and what was written under it. Rules: between `begin` and `finish` its
matcher belongs to a thread, otherwise to the runner; nothing waits for a grammar longer than `PATIENCE`, and loading
the tokenizer does not count; a grammar that fails, fails its own sequence alone, not those that wait for its thread;
what is said of it holds nothing that somebody wrote.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from numpy.typing import NDArray

from llmos.drivers.engine.grammars import load_tokenizer, matcher
from llmos.kernel.ports.engine import Grammar

PATIENCE = 2.0
"""Seconds that a step waits for masks when all else is done; a mask usually takes a ten-thousandth of it."""

_MOST_THREADS = 8

Bits = NDArray[np.int32]


class Stuck(Exception):
    """A grammar allows nothing any more, or takes too much. The text says which, and nothing of the grammar."""


@dataclass(slots=True, eq=False)
class Constraint:
    """A grammar, the tokens that its matcher has not seen yet, and why it does not go on, if it does not."""

    grammar: Grammar
    unseen: list[int]
    matcher: LLMatcher | None = None
    stuck: str = ""

    def take(self, token: int) -> None:
        """This token was chosen."""
        self.unseen.append(token)


@dataclass(frozen=True, slots=True)
class Begun:
    """Masks on their way, `[constraints, words of 32 tokens]`, one job for each of the constraints."""

    constraints: Sequence[Constraint]
    bits: Bits
    jobs: Sequence[Future[None]]


@dataclass(slots=True, eq=False)
class GrammarMasks:
    """Computes masks for one model."""

    directory: Path
    vocabulary: int
    end_tokens: Sequence[int]
    _pool: ThreadPoolExecutor | None = None
    _tokenizer: LLTokenizer | None = None
    _unusable: str = ""
    """Why the tokenizer cannot be loaded, once that is known."""
    _loading: Lock = field(default_factory=Lock)

    def begin(self, constraints: Sequence[Constraint]) -> Begun:
        """Start to compute what each may write next."""
        pool = self._pool
        if pool is None:
            pool = self._pool = ThreadPoolExecutor(min(_MOST_THREADS, max(2, os.cpu_count() or 1)), "grammar")
        bits = np.full((len(constraints), -(-self.vocabulary // 32)), -1, np.int32)
        rows = zip(constraints, bits, strict=True)
        return Begun(constraints, bits, [pool.submit(self._compute, constraint, row) for constraint, row in rows])

    def finish(self, begun: Begun) -> NDArray[np.uint8]:
        """The masks, `[constraints, bytes]`, the first token in the lowest bit; one that is stuck allows all."""
        with suppress(Stuck):
            self._loaded()
        jobs = self._taken_up(begun)
        late = wait(jobs, PATIENCE / 2).not_done
        bits = begun.bits
        if late:
            bits = bits.copy()
            self._leave_late()
        for row, (constraint, job) in enumerate(zip(begun.constraints, jobs, strict=True)):
            if job in late:
                constraint.stuck = f"its grammar took longer than {PATIENCE:g} s for one token"
            else:
                job.result()
            if constraint.stuck:
                bits[row] = -1
        return bits.view(np.uint8)

    def _taken_up(self, begun: Begun) -> Sequence[Future[None]]:
        """The jobs; after half the time, those that still wait for the threads of others have each one of its own."""
        if not wait(begun.jobs, PATIENCE / 2).not_done:
            return begun.jobs
        jobs = list(begun.jobs)
        waiting = [index for index, job in enumerate(jobs) if job.cancel()]
        if waiting:
            threads = ThreadPoolExecutor(len(waiting), "grammar")
            for index in waiting:
                jobs[index] = threads.submit(self._compute, begun.constraints[index], begun.bits[index])
            threads.shutdown(wait=False)
        return jobs

    def _leave_late(self) -> None:
        """Threads that are late are left alone; others take over."""
        if self._pool is not None:
            self._pool.shutdown(wait=False)
            self._pool = None

    def _compute(self, constraint: Constraint, row: Bits) -> None:
        if constraint.stuck:
            return
        try:
            self._fill(self._caught_up(constraint), constraint.grammar, row)
        except Stuck as stuck:
            constraint.stuck = str(stuck)
        except ValueError:
            constraint.stuck = "its grammar is none"

    def _caught_up(self, constraint: Constraint) -> LLMatcher:
        """The matcher, after everything that was written."""
        known = constraint.matcher
        if known is None:
            known = constraint.matcher = matcher(self._loaded(), constraint.grammar)
        tokens, constraint.unseen = constraint.unseen, []
        if not known.consume_tokens(tokens):
            raise Stuck(_reason(known))
        return known

    def _fill(self, known: LLMatcher, grammar: Grammar, row: Bits) -> None:
        known.unsafe_compute_mask_ptr(row.ctypes.data, row.nbytes)
        if known.is_error() or not row.any():
            raise Stuck(_reason(known))
        if not known.is_accepting() and not _without(row, self.end_tokens).any():
            raise Stuck("its grammar allows no token here")
        if grammar.prolong and (longer := _without(row, self.end_tokens)).any():
            row[:] = longer

    def _loaded(self) -> LLTokenizer:
        with self._loading:
            if self._tokenizer is None and not self._unusable:
                try:
                    self._tokenizer = load_tokenizer(self.directory, self.vocabulary, self.end_tokens)
                except ValueError as error:
                    self._unusable = f"the model's tokenizer cannot be used with grammars: {error}"
            if self._tokenizer is None:
                raise Stuck(self._unusable)
            return self._tokenizer


def _without(row: Bits, tokens: Iterable[int]) -> Bits:
    rest = row.copy()
    bits = rest.view(np.uint32)
    for token in tokens:
        bits[token // 32] &= np.uint32(~(1 << token % 32) & 0xFFFFFFFF)
    return rest


def _reason(known: LLMatcher) -> str:
    """Why a matcher stopped, in llguidance's own words for it."""
    return f"its grammar does not go on here: {known.stop_reason()}"
