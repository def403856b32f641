"""Scoring: how likely given continuations of a context are.

The kernel makes a child for each continuation, as `fork` does: they read the same pages, are scheduled, preempted and
swapped like everybody, and live as long as the call. When the context is not computed yet, one more computes it first,
so that it is computed once. Rules: the scored process is not changed; a process of a scoring that cannot go on, or the
end of the scored process, ends all of it; nothing of it is left when its caller is told.
"""

from __future__ import annotations

from llmos.kernel.core.calls import begin, check_room, child_of, refuse_scorer, refuse_when_draining, share_pages
from llmos.kernel.core.effects import Effect, Scores, ScoringDone, ScoringFailed
from llmos.kernel.core.engine import Engine
from llmos.kernel.core.events import SOMEBODY, Score
from llmos.kernel.core.life import abandon, bury
from llmos.kernel.core.outcomes import limit_text
from llmos.kernel.core.planner import too_long
from llmos.kernel.core.process import Exit, Process, Scorer, Scoring
from llmos.kernel.core.provenance import extend
from llmos.kernel.core.residency import pages_for
from llmos.kernel.core.state import KernelState
from llmos.syscalls.abi.errors import Cancelled, DeviceError, InvalidArgument, LimitExceeded, OutOfPages
from llmos.syscalls.abi.words import FinishReason, Pid


def score(kernel: KernelState, event: Score, now: float) -> list[Effect]:
    """Begin to score. Ends with `ScoringDone` or `ScoringFailed`."""
    refuse_when_draining(kernel)
    process = kernel.table.living(event.pid)
    refuse_scorer(process)
    engine = kernel.engine_of(process)
    _check(engine, process, event)
    check_room(kernel, process.principal, len(event.pids))
    scoring = Scoring(event.call, len(process.tokens))
    missing = process.computed < len(process.tokens) - 1
    if missing:
        scoring.prefix = _made(kernel, process, scoring, event.pids[0], (), now)
    given = zip(event.pids[1:], event.continuations, strict=True)
    scoring.scorers = tuple(_made(kernel, process, scoring, pid, tokens, now) for pid, tokens in given)
    engine.scorings[event.call] = scoring
    if scoring.prefix is not None:
        _begin(engine, process, (scoring.prefix,), now)
    else:
        _begin_scorers(engine, scoring, process, now)
    return []


def end(kernel: KernelState, pid: Pid, call: Pid) -> list[Effect]:
    """End a scoring, if it is under way."""
    process = kernel.table.find(pid)
    if process is None:
        return []
    engine = kernel.engine_of(process)
    scoring = engine.scorings.get(call)
    if scoring is not None:
        abandon(engine, scoring, Cancelled("the scoring was cancelled"))
    return []


def settle(engine: Engine, now: float) -> list[Effect]:
    """See to the scorings of which a process has come to its end."""
    effects: list[Effect] = []
    while engine.due:
        scoring = engine.due.pop()
        if not scoring.over:
            effects += _settle(engine, scoring, now)
    return effects


def _settle(engine: Engine, scoring: Scoring, now: float) -> list[Effect]:
    if scoring.error is not None:
        return [*_end(engine, scoring, now), ScoringFailed(scoring.call, scoring.error)]
    if not scoring.begun:
        if scoring.prefix is not None:
            _begin_scorers(engine, scoring, scoring.prefix, now)
        return []
    found = [process.scorer for process in scoring.scorers if process.scorer is not None]
    if not all(scorer.done for scorer in found):
        return []
    scores = tuple(Scores(tuple(scorer.logprobs), tuple(scorer.likeliest)) for scorer in found)
    return [*_end(engine, scoring, now), ScoringDone(scoring.call, scores)]


def _end(engine: Engine, scoring: Scoring, now: float) -> list[Effect]:
    """Nothing of it is left; its processes are no secret, so whoever waits for one is told."""
    scoring.over = True
    del engine.scorings[scoring.call]
    effects: list[Effect] = []
    for process in scoring.processes:
        if process.alive:
            effects += bury(engine, engine.processes, process, Exit(0, "scored"), now, FinishReason.STOP)
    return effects


def _made(
    kernel: KernelState, process: Process, scoring: Scoring, pid: Pid, continuation: tuple[int, ...], now: float
) -> Process:
    child = child_of(kernel, process, pid, now)
    child.name = f"score of {process.pid}"
    child.tokens.extend(continuation)
    extend(child.spans, len(child.tokens), SOMEBODY)
    child.closed_role = None
    child.scorer = Scorer(scoring)
    kernel.table.add(child)
    return child


def _begin_scorers(engine: Engine, scoring: Scoring, source: Process, now: float) -> None:
    scoring.begun = True
    _begin(engine, source, scoring.scorers, now)


def _begin(engine: Engine, source: Process, children: tuple[Process, ...], now: float) -> None:
    """Have them compute what the source has not, on its pages; the context's last token they feed themselves."""
    for child in children:
        if engine.pager is not None:
            share_pages(source, child, engine.pager, child.shareable_tokens - 1)
        begin(engine, child, None, now, "score")


def _check(engine: Engine, process: Process, event: Score) -> None:
    if not process.tokens:
        raise InvalidArgument(f"process {process.pid} has an empty context", "append something first")
    if not event.continuations or not all(event.continuations):
        raise InvalidArgument("there is nothing to score", "continuations of one token or more")
    if engine.refused:
        raise DeviceError(f"the engine of {engine.model} refused: {engine.refused}", "llmosctl doctor")
    length = len(process.tokens) + max(map(len, event.continuations))
    limit, geometry = process.limits.context_tokens, engine.geometry
    if limit is not None and length > limit:
        raise LimitExceeded(f"{limit_text(process, 'context_tokens', limit)}: scoring takes {length}", "llmosctl limit")
    if geometry is None:
        return
    bad = max(map(max, event.continuations))
    if bad >= geometry.vocabulary:
        raise InvalidArgument(f"token {bad} is not in the vocabulary of {geometry.vocabulary} tokens")
    if length >= geometry.context_limit:
        raise too_long(length, geometry.context_limit)
    pages = pages_for(length + 1, geometry.page_tokens)
    if pages > geometry.device_pages:
        raise OutOfPages(
            f"scoring needs {pages} pages; the device pool has {geometry.device_pages}", "score shorter continuations"
        )
