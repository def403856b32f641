"""How a process gets on and off the engine and through its states. Used by calls, outcomes and the planner alike."""

from __future__ import annotations

from llmos.kernel.core.effects import Effect, Exited, Failed, Finished, Reaped
from llmos.kernel.core.engine import Engine
from llmos.kernel.core.process import Exit, Generation, Process, Run, Scoring
from llmos.kernel.core.residency import deactivate_all, release_all
from llmos.kernel.core.table import ProcessTable
from llmos.syscalls.abi.errors import Cancelled, Error
from llmos.syscalls.abi.words import FinishReason, State, Usage


def make_ready(engine: Engine, process: Process, now: float, why: str) -> None:
    """It has work and may run."""
    process.move(State.READY, now, why)
    engine.queue.add(process, now)


def leave(engine: Engine, process: Process, state: State, now: float, why: str) -> None:
    """It goes to a state in which it does not run, wherever it is now."""
    if process.state is State.RUNNING:
        _off_engine(engine, process)
    elif process.state is State.READY:
        engine.queue.remove(process)
    if process.state is not state:
        process.move(state, now, why)


def preempt(engine: Engine, process: Process, now: float, why: str) -> None:
    """A running process has to wait; it comes back before others of its class."""
    _off_engine(engine, process)
    process.preempted = True
    process.preemptions += 1
    engine.counters.preemptions += 1
    make_ready(engine, process, now, why)


def continue_(engine: Engine, process: Process, now: float, why: str) -> None:
    """Nothing holds it any more: to where it belongs by what it has to do."""
    generation = process.generation
    if process.run is None:
        target = process.at_rest
    elif process.swapping_out or (generation is not None and generation.throttled):
        target = State.WAITING
    else:
        make_ready(engine, process, now, why)
        return
    if process.state is not target:
        process.move(target, now, why)


def end_run(engine: Engine, process: Process) -> Run | None:
    """Its run is over; what is in flight for it will be ignored."""
    run, process.run = process.run, None
    process.preempted = False
    process.reclass(process.priority)
    if run is not None and run.opened:
        engine.closing.append(run.sequence)
    return run


def finish(engine: Engine, process: Process, reason: FinishReason, now: float, detail: str = "") -> list[Effect]:
    """The run has come to its end."""
    run = end_run(engine, process)
    if process.state in (State.RUNNING, State.READY, State.WAITING):
        leave(engine, process, process.at_rest, now, f"generation ended: {detail or reason.value}")
    if process.scorer is not None:
        process.scorer.done = True
        engine.due.append(process.scorer.scoring)
    if run is None or run.generation is None:
        return []
    return [Finished(process.pid, reason, usage(run.generation, now), detail)]


def fail(engine: Engine, process: Process, error: Error, now: float) -> list[Effect]:
    """The run cannot go on."""
    run = end_run(engine, process)
    if process.state in (State.RUNNING, State.READY, State.WAITING):
        leave(engine, process, process.at_rest, now, f"generation failed: {error.message}")
    if process.scorer is not None:
        abandon(engine, process.scorer.scoring, error)
    return [Failed(process.pid, error)] if run is not None and run.generation is not None else []


def abandon(engine: Engine, scoring: Scoring, error: Error) -> None:
    """A scoring cannot go on; its first error is what its caller is told."""
    scoring.error = scoring.error or error
    engine.due.append(scoring)


def bury(
    engine: Engine, table: ProcessTable, process: Process, exit: Exit, now: float, reason: FinishReason
) -> list[Effect]:
    """The process is over: its generation ends, its pages are given back, its children go to pid 1."""
    effects: list[Effect] = []
    run = end_run(engine, process)
    leave(engine, process, State.EXITED, now, exit.reason)
    if run is not None and run.generation is not None:
        effects.append(Finished(process.pid, reason, usage(run.generation, now), exit.reason))
    if engine.pager is not None:
        release_all(process, engine.pager)
    engine.swapping.pop(process.pid, None)
    process.exit = exit
    process.awaits.clear()
    for scoring in _scorings_of(table, process):
        abandon(engine, scoring, Cancelled(f"process {process.pid} has ended: {exit.reason}"))
    effects.append(Exited(process.pid, exit.code, exit.reason))
    effects.extend(Reaped(pid) for pid in table.bury(process))
    return effects


def usage(generation: Generation, now: float) -> Usage:
    """What a generation cost until now."""
    first = generation.first_token if generation.first_token is not None else now
    return Usage(
        prompt_tokens=generation.prompt_tokens,
        cached_tokens=generation.cached_tokens,
        generated_tokens=generation.generated,
        first_token_seconds=first - generation.started,
        seconds=now - generation.started,
    )


def _scorings_of(table: ProcessTable, process: Process) -> list[Scoring]:
    """What a process that ends takes with it: the scoring that it belongs to, and those of its own context."""
    concerned = (process, *(table.get(pid) for pid in process.children))
    return [each.scorer.scoring for each in concerned if each.scorer is not None]


def _off_engine(engine: Engine, process: Process) -> None:
    del engine.running[process.pid]
    if engine.pager is None:
        raise AssertionError(f"process {process.pid} runs on an engine without pools")
    deactivate_all(process, engine.pager)
