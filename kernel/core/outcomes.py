"""What an engine reports: that it is up, that it is gone, and what came of a plan."""

from __future__ import annotations

from dataclasses import dataclass

from llmos.kernel.core.effects import Effect, SwapSettled, Token
from llmos.kernel.core.engine import Engine, Part
from llmos.kernel.core.life import fail, finish, leave
from llmos.kernel.core.pager import Pager
from llmos.kernel.core.policy import INPUT_COST, OUTPUT_COST
from llmos.kernel.core.process import Generation, Process
from llmos.kernel.core.provenance import MODEL, extend
from llmos.kernel.core.residency import confirm, forget_lost
from llmos.kernel.ports.engine import Broken, Outcome, Ready, Sampled, Scored, SequenceId
from llmos.syscalls.abi.errors import DeviceError
from llmos.syscalls.abi.words import FinishReason, State

AGED_TURN = 64.0
"""Service, in weighted tokens, that a process gets at the rank it gained by waiting before it is back in its class."""

FATAL_STEPS = 3
"""After so many engines in a row that died in its steps, a process is taken for the cause and its generation fails."""


@dataclass(frozen=True, slots=True)
class _News:
    """What an outcome says about sequences, by sequence."""

    sampled: dict[SequenceId, Sampled]
    scored: dict[SequenceId, Scored]
    broken: dict[SequenceId, Broken]

    @classmethod
    def of(cls, outcome: Outcome) -> _News:
        return cls(
            {token.sequence: token for token in outcome.sampled},
            {scored.sequence: scored for scored in outcome.scored},
            {error.sequence: error for error in outcome.broken},
        )


def engine_up(engine: Engine, ready: Ready) -> None:
    """A new engine is ready. Pools survive when their geometry is the same; otherwise all KV is computed again."""
    same = engine.geometry is not None and _geometry(engine.geometry) == _geometry(ready)
    if engine.pager is None or not same:
        for process in _processes(engine):
            process.pages.clear()
            process.computed = 0
            _restart_run(process)
        engine.pager = Pager(ready.page_tokens, ready.device_pages, ready.host_pages)
    engine.ready = engine.geometry = ready
    engine.refused = engine.detail = ""


def engine_down(engine: Engine, reason: str, refused: bool, now: float) -> list[Effect]:
    """The engine is gone: whoever ran is ready again, and what the device held is computed again or read from host."""
    if engine.ready is not None:
        engine.counters.restarts += 1
    engine.ready, engine.detail = None, reason
    suspects = _suspects(engine)
    engine.in_flight.clear()
    engine.closing.clear()
    for process in list(engine.running.values()):
        process.preempted = True
        leave(engine, process, State.READY, now, f"the engine is gone: {reason}")
        engine.queue.add(process, now)
    if engine.pager is not None:
        engine.pager.lose_device()
        for process in _processes(engine):
            forget_lost(process, engine.pager)
            _restart_run(process)
    effects = _settle_swaps(engine)
    for process in suspects:
        error = DeviceError(f"{FATAL_STEPS} engines in a row died in a step of process {process.pid}: {reason}")
        effects += fail(engine, process, error, now)
    if refused:
        engine.refused = reason
        for process in _processes(engine):
            effects += fail(engine, process, DeviceError(f"the engine refused: {reason}", "llmosctl doctor"), now)
    return effects


def step_done(engine: Engine, outcome: Outcome, now: float) -> list[Effect]:
    """A plan was carried out: complete its moves, confirm its KV, take its tokens."""
    if engine.pager is None or not engine.in_flight or engine.in_flight[0].number != outcome.number:
        raise AssertionError(f"outcome {outcome.number} belongs to no plan in flight")
    engine.counters.steps += 1
    engine.counters.step_seconds += outcome.seconds
    engine.counters.move_seconds += outcome.move_seconds
    for move in outcome.moved:
        engine.pager.complete(move)
    news = _News.of(outcome)
    effects: list[Effect] = []
    for part in engine.in_flight.popleft().parts:
        for page in part.written:
            engine.pager.unpin(page)
        if part.process.run is part.run:
            effects += _part_done(engine, part, news, now)
    engine.queue.settle()
    return effects + _settle_swaps_in(engine)


def _suspects(engine: Engine) -> list[Process]:
    """Who was in a step of an engine that died, so often without one that went well that it must be the cause."""
    in_step = {part.process.pid: part.process for flight in engine.in_flight for part in flight.parts}
    for process in in_step.values():
        process.fatal_steps += 1
    return [process for process in in_step.values() if process.fatal_steps >= FATAL_STEPS and process.run is not None]


def _part_done(engine: Engine, part: Part, news: _News, now: float) -> list[Effect]:
    process, run = part.process, part.run
    process.fatal_steps = 0
    if run.sequence in news.broken:
        return fail(engine, process, DeviceError(f"the model failed: {news.broken[run.sequence].message}"), now)
    if engine.pager is None:
        raise AssertionError("an outcome without pools")
    again = process.recomputed_tokens
    confirm(process, engine.pager, process.share_key, part.start, part.count)
    engine.counters.recomputed_tokens += process.recomputed_tokens - again
    run.samples_in_flight -= part.sampled
    _charge(engine, part)
    if run.generation is None:
        return _computed(engine, process, news.scored.get(run.sequence), now)
    if not part.sampled:
        return []
    return _take_token(engine, process, run.generation, news.sampled[run.sequence], now)


def _computed(engine: Engine, process: Process, scored: Scored | None, now: float) -> list[Effect]:
    """More of a context is there; when all of it is, what wanted that is done."""
    if process.scorer is not None and scored is not None:
        process.scorer.take(scored.position, scored.logprobs, scored.likeliest)
    whole = process.computed >= len(process.tokens) - 1
    return finish(engine, process, FinishReason.STOP, now) if whole else []


def _charge(engine: Engine, part: Part) -> None:
    service = part.count * INPUT_COST + part.sampled * OUTPUT_COST
    part.run.admitted_service += service
    engine.queue.charge(part.process, service)
    if part.process.boost and part.run.admitted_service >= AGED_TURN:
        part.process.reclass(part.process.priority)
    if part.sampled and part.count == 1:
        engine.counters.decode_tokens += 1
    else:
        engine.counters.prefill_tokens += part.count


def _take_token(engine: Engine, process: Process, generation: Generation, token: Sampled, now: float) -> list[Effect]:
    if token.position != len(process.tokens):
        raise AssertionError(
            f"token for position {token.position} of process {process.pid}, which has {len(process.tokens)}"
        )
    process.tokens.append(token.token)
    extend(process.spans, len(process.tokens), MODEL)
    process.closed_role = None
    process.generated_tokens += 1
    generation.generated += 1
    if generation.first_token is None:
        generation.first_token = now
    effects: list[Effect] = [Token(process.pid, token.token, token.logprob, token.top)]
    end = _end(engine, process, generation, token.token)
    if end is not None:
        effects += finish(engine, process, end[0], now, end[1])
    return effects


def _end(engine: Engine, process: Process, generation: Generation, token: int) -> tuple[FinishReason, str] | None:
    ready, limits = engine.geometry, process.limits
    if ready is not None and token in ready.end_tokens and generation.ends_by_token:
        return FinishReason.STOP, ""
    if limits.generated_tokens is not None and process.generated_tokens >= limits.generated_tokens:
        return FinishReason.LIMIT, limit_text(process, "generated_tokens", limits.generated_tokens)
    if limits.context_tokens is not None and len(process.tokens) >= limits.context_tokens:
        return FinishReason.LIMIT, limit_text(process, "context_tokens", limits.context_tokens)
    if generation.generated >= generation.max_tokens:
        return FinishReason.LENGTH, ""
    if ready is not None and len(process.tokens) >= ready.context_limit:
        return FinishReason.LENGTH, f"the model's context of {ready.context_limit} tokens is full"
    return None


def limit_text(process: Process, name: str, value: float) -> str:
    """Names the limit, its value and who set it."""
    return f"limit {name}={value:g} of process {process.pid}, set by {process.limit_setters.of(name)}"


def _restart_run(process: Process) -> None:
    run = process.run
    if run is None:
        return
    run.planned, run.samples_in_flight, run.unsent_from, run.opened = process.computed, 0, 0, False


def _settle_swaps(engine: Engine) -> list[Effect]:
    effects: list[Effect] = []
    for process in engine.swapping.values():
        process.swapping_in = False
        if not process.swapping_out:
            effects.append(SwapSettled(process.pid, 0, "the engine restarted"))
    for pid in [pid for pid, process in engine.swapping.items() if not process.swapping_out]:
        del engine.swapping[pid]
    return effects


def _settle_swaps_in(engine: Engine) -> list[Effect]:
    effects: list[Effect] = []
    for process in [process for process in engine.swapping.values() if process.swapping_in]:
        if any(page.pins for page in process.pages):
            continue
        del engine.swapping[process.pid]
        process.swapping_in = False
        effects.append(SwapSettled(process.pid, process.swap_moved, ""))
    return effects


def _processes(engine: Engine) -> list[Process]:
    return [process for process in engine.processes if process.model == engine.model and process.alive]


def _geometry(ready: Ready) -> tuple[str, int, int, int, int]:
    return ready.fingerprint, ready.page_tokens, ready.page_bytes, ready.device_pages, ready.host_pages
