"""Snapshots of the core for those who ask: pure functions, nothing changes."""

from __future__ import annotations

from llmos.kernel.core.engine import Engine
from llmos.kernel.core.kernel import Kernel
from llmos.kernel.core.process import Process
from llmos.syscalls.abi.messages import EngineInfo, HistoryEntry, Metric, Why
from llmos.syscalls.abi.words import PageCounts, ProcessInfo, State


def process_info(process: Process, now: float, epoch: float) -> ProcessInfo:
    """A process as `ps` shows it. `epoch` turns the kernel's clock into seconds since the epoch."""
    waited = process.wait_seconds + (now - process.since if process.state is State.READY else 0.0)
    return ProcessInfo(
        pid=process.pid,
        parent=process.parent,
        name=process.name,
        app=process.app,
        principal=process.principal,
        model=process.model,
        state=process.state,
        waiting_for=waiting_for(process),
        priority=process.priority,
        weight=process.weight,
        context_tokens=len(process.tokens),
        generated_tokens=process.generated_tokens,
        pages=page_counts(process),
        preemptions=process.preemptions,
        swapped_out_pages=process.swapped_out_pages,
        swapped_in_pages=process.swapped_in_pages,
        recomputed_tokens=process.recomputed_tokens,
        wait_seconds=waited,
        created=process.created + epoch,
        limits=process.limits,
        pending_signals=process.pending_signals,
        deadline=process.deadline + epoch if process.deadline is not None else None,
        code=process.exit.code if process.exit else None,
        reason=process.exit.reason if process.exit else None,
        tool_calls=process.tool_calls,
    )


def page_counts(process: Process) -> PageCounts:
    """Where the pages of a process are. A page with nothing in it counts where it has a slot."""
    return PageCounts(
        device=sum(page.device is not None for page in process.pages),
        host=sum(page.host is not None and page.host_tokens > 0 for page in process.pages),
        shared=sum(page.references > 1 for page in process.pages),
        dirty=sum(page.filled > page.host_tokens for page in process.pages),
    )


def waiting_for(process: Process) -> str:
    """What a process that does not run waits for; empty when it runs."""
    generation = process.generation
    match process.state:
        case State.READY:
            return "its turn"
        case State.STOPPED:
            return "cont"
        case State.WAITING if process.swapping_out:
            return "swap"
        case State.WAITING if generation is not None and generation.throttled:
            return "its reader"
        case State.WAITING if process.awaits and process.run is None:
            return ", ".join(dict.fromkeys(process.awaits))
        case State.WAITING | State.NEW:
            return "input"
        case _:
            return ""


def why(kernel: Kernel, process: Process, epoch: float, tenant: str | None = None) -> Why:
    """What a process waits for, who is before it and by which rule, and its history.

    With a `tenant` others are neither counted nor mentioned.
    """
    engine = kernel.engine_of(process)
    return Why(
        pid=process.pid,
        state=process.state,
        waiting_for=waiting_for(process),
        rule=_rule(engine, process, kernel.settings.policy.name, tenant),
        before_it=engine.queue.before(process, tenant),
        history=tuple(HistoryEntry(entry.at + epoch, entry.what) for entry in process.history),
    )


def engine_info(engine: Engine, os_pid: int | None) -> EngineInfo:
    """One engine and how full it is."""
    said, pager = engine.geometry, engine.pager
    return EngineInfo(
        model=engine.model,
        device=said.device if said else "",
        dtype=said.dtype if said else "",
        weights=said.weights if said else "",
        state="refused" if engine.refused else "ready" if engine.ready else "starting",
        restarts=engine.counters.restarts,
        page_tokens=said.page_tokens if said else 0,
        page_bytes=said.page_bytes if said else 0,
        device_pages=pager.device.total if pager else 0,
        device_pages_free=pager.device.free if pager else 0,
        device_pages_cached=pager.cached_device if pager else 0,
        host_pages=pager.host.total if pager else 0,
        host_pages_free=pager.host.free if pager else 0,
        host_pages_cached=pager.cached_host if pager else 0,
        context_limit=said.context_limit if said else 0,
        max_batch=said.max_batch if said else 0,
        step_tokens=said.step_tokens if said else 0,
        os_pid=os_pid,
        detail=engine.refused or engine.detail,
    )


def metrics(kernel: Kernel) -> tuple[Metric, ...]:
    """Counters and gauges, summed over engines."""
    states = dict.fromkeys(State, 0)
    for process in kernel.table:
        states[process.state] += 1
    gauges = [
        Metric(f"processes_{state.value}", float(count), "processes in this state") for state, count in states.items()
    ]
    return (*gauges, *(metric for engine in kernel.engines.values() for metric in _engine_metrics(engine)))


def _engine_metrics(engine: Engine) -> tuple[Metric, ...]:
    counters, pager = engine.counters, engine.pager
    rows: list[tuple[str, float, str]] = [
        ("steps_total", counters.steps, "steps that were run"),
        ("step_seconds_total", counters.step_seconds, "time spent in steps"),
        ("move_seconds_total", counters.move_seconds, "time spent moving pages"),
        ("prefill_tokens_total", counters.prefill_tokens, "tokens computed in prefill"),
        ("decode_tokens_total", counters.decode_tokens, "tokens computed one at a time"),
        ("recomputed_tokens_total", counters.recomputed_tokens, "tokens computed more than once"),
        ("preemptions_total", counters.preemptions, "running processes that had to give way"),
        ("engine_restarts_total", counters.restarts, "engines that were lost"),
    ]
    if pager is not None:
        rows += [
            ("device_pages_free", pager.device.free, "device slots that hold nothing"),
            ("device_pages_cached", pager.cached_device, "device slots that hold pages nobody refers to"),
            ("host_pages_free", pager.host.free, "host slots that hold nothing"),
            ("host_pages_cached", pager.cached_host, "host slots that hold pages nobody refers to"),
            (
                "pages_moved_out_total",
                pager.counters.moved_out,
                "pages copied to host under pressure or on demand",
            ),
            (
                "pages_written_behind_total",
                pager.counters.written_behind,
                "pages copied to host when they were full",
            ),
            ("pages_moved_in_total", pager.counters.moved_in, "pages copied from host to the device"),
            ("pages_evicted_total", pager.counters.evicted, "device copies that were dropped"),
            (
                "pages_copied_on_write_total",
                pager.counters.copied,
                "shared pages that were copied to be written",
            ),
            ("pages_shared_total", pager.counters.shared_hits, "pages taken over instead of computed"),
        ]
    return tuple(Metric(name, float(value), text) for name, value, text in rows)


def _rule(engine: Engine, process: Process, policy: str, tenant: str | None) -> str:
    match process.state:
        case State.READY if process.preempted:
            return f"preempted ones of class {process.priority.value} come back first, in the order of their preemption"
        case State.READY:
            return f"classes are strict; inside {process.priority.value}: policy {policy}"
        case State.RUNNING:
            running = sum(tenant in (None, other.tenant) for other in engine.running.values())
            return f"one of {running} running"
        case _:
            return "it has nothing to run until what it waits for comes"
