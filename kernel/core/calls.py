"""What each call does to the core. All checks come first; after them a call cannot be refused."""

from __future__ import annotations

from llmos.kernel.core.effects import Effect, Signalled, SwapSettled
from llmos.kernel.core.engine import Engine
from llmos.kernel.core.events import Append, Fork, Generate, Renice, SetLimits, Spawn
from llmos.kernel.core.life import continue_, finish, leave, make_ready
from llmos.kernel.core.outcomes import limit_text
from llmos.kernel.core.pager import Pager
from llmos.kernel.core.planner import too_long
from llmos.kernel.core.process import Generation, LimitSetters, Process, Run
from llmos.kernel.core.provenance import cut, extend
from llmos.kernel.core.residency import activate_all, bring_in_all, deactivate_all, pages_for, trim
from llmos.kernel.core.sharing import scope_key
from llmos.kernel.core.state import KernelState
from llmos.syscalls.abi.errors import Busy, DeviceError, InvalidArgument, LimitExceeded, OutOfPages, TryAgain
from llmos.syscalls.abi.words import INIT, FinishReason, Limits, Pid, State

LIMIT_NAMES = Limits.__struct_fields__


def spawn(kernel: KernelState, event: Spawn, now: float) -> list[Effect]:
    """A new process without context."""
    refuse_when_draining(kernel)
    check_room(kernel, event.principal, 1)
    kernel.engine(event.model)
    if event.parent != INIT:
        _check_children(kernel, kernel.table.living(event.parent), 1)
    process = Process(
        pid=event.pid,
        parent=event.parent,
        name=event.name,
        app=event.app,
        principal=event.principal,
        tenant=event.tenant,
        model=event.model,
        created=now,
        priority=event.priority,
        weight=event.weight,
        deadline=event.deadline,
        limits=event.limits,
        share_key=scope_key(kernel.settings.secret, event.scope, event.pid),
        limit_setters=LimitSetters().with_(_given(event.limits), event.principal),
        since=now,
        arrival=kernel.new_arrival(),
    )
    process.note(now, f"spawned by {event.principal}")
    kernel.table.add(process)
    kernel.watch_wall(process)
    return []


def fork(kernel: KernelState, event: Fork, now: float) -> list[Effect]:
    """Children with the same context: they refer to the same pages, and whoever writes a shared one copies it first."""
    refuse_when_draining(kernel)
    parent = kernel.table.living(event.pid)
    check_room(kernel, parent.principal, len(event.children))
    _check_children(kernel, parent, len(event.children))
    pager = kernel.engine_of(parent).pager
    for pid in event.children:
        child = child_of(kernel, parent, pid, now)
        if pager is not None:
            share_pages(parent, child, pager, parent.computed)
        kernel.table.add(child)
        kernel.watch_wall(child)
    return []


def renice(kernel: KernelState, event: Renice, now: float) -> list[Effect]:
    """Another class or weight."""
    process = kernel.table.living(event.pid)
    engine = kernel.engine_of(process)
    queued = process in engine.queue
    if queued:
        engine.queue.remove(process)
    process.reclass(event.priority or process.priority)
    process.weight = event.weight or process.weight
    process.note(now, f"reniced by {event.by}: {process.priority.value}, weight {process.weight}")
    if queued:
        engine.queue.add(process, now)
    return []


def set_limits(kernel: KernelState, event: SetLimits, now: float) -> list[Effect]:
    """Other limits; they bite at the next token boundary."""
    process = kernel.table.living(event.pid)
    unknown = [name for name in event.clear if name not in LIMIT_NAMES]
    if unknown:
        raise InvalidArgument(f"no such limit: {unknown[0]!r}", f"limits are {', '.join(LIMIT_NAMES)}")
    values = {name: getattr(process.limits, name) for name in LIMIT_NAMES if name not in event.clear}
    given = _given(event.limits)
    process.limits = Limits(**values | {name: getattr(event.limits, name) for name in given})
    process.limit_setters = process.limit_setters.with_(given, event.by)
    process.note(now, f"limits set by {event.by}")
    kernel.watch_wall(process)
    return []


def append(kernel: KernelState, event: Append, now: float) -> list[Effect]:
    """More context."""
    process = _at_rest(kernel, event.pid)
    geometry = kernel.engine_of(process).geometry
    length = len(process.tokens) + len(event.tokens)
    limit = process.limits.context_tokens
    if limit is not None and length > limit:
        raise LimitExceeded(
            f"{limit_text(process, 'context_tokens', limit)}: the context would have {length}",
            "llmosctl limit",
        )
    if geometry is not None and length >= geometry.context_limit:
        raise too_long(length, geometry.context_limit)
    bad = next((token for token in event.tokens if geometry is not None and token >= geometry.vocabulary), None)
    if bad is not None and geometry is not None:
        raise InvalidArgument(f"token {bad} is not in the vocabulary of {geometry.vocabulary} tokens")
    process.tokens.extend(event.tokens)
    extend(process.spans, length, event.origin)
    process.closed_role = event.closed_role
    if process.state is State.NEW and process.tokens:
        process.move(State.WAITING, now, "has a context")
    return []


def truncate(kernel: KernelState, pid: Pid, length: int, now: float) -> list[Effect]:
    """Less context."""
    process = _at_rest(kernel, pid)
    if length > len(process.tokens):
        raise InvalidArgument(f"process {pid} has {len(process.tokens)} tokens, {length} cannot be kept")
    engine = kernel.engine_of(process)
    if process.run is not None:
        finish(engine, process, FinishReason.STOP, now)
    if length < len(process.tokens):
        process.closed_role = None
    del process.tokens[length:]
    cut(process.spans, length)
    pager = engine.pager
    if pager is not None:
        trim(process, pager, length)
    if process.state is State.WAITING and process.at_rest is State.NEW:
        process.move(State.NEW, now, "has no context")
    return []


def prefetch(kernel: KernelState, pid: Pid, now: float) -> list[Effect]:
    """Compute what is missing of the context, at its turn; nothing to do is no error."""
    process = kernel.table.living(pid)
    idle = process.run is None and process.scorer is None and process.state is State.WAITING
    if idle and len(process.tokens) - 1 > process.computed:
        begin(kernel.engine_of(process), process, None, now, "will need")
    return []


def generate(kernel: KernelState, event: Generate, now: float) -> list[Effect]:
    """Begin a generation. One that is only computed ahead is taken over."""
    refuse_when_draining(kernel)
    process = kernel.table.living(event.pid)
    engine = kernel.engine_of(process)
    if process.generation is not None:
        raise Busy(f"process {event.pid} is generating already", "wait for it, cancel it, or fork")
    refuse_scorer(process)
    _check_generation(engine, process)
    if process.run is not None:
        finish(engine, process, FinishReason.STOP, now)
    process.computed = min(process.computed, len(process.tokens) - 1)
    process.high_water = min(process.high_water, len(process.tokens) - 1)
    generation = Generation(event.sampling, event.max_tokens, event.ignore_eos, len(process.tokens), now)
    process.arrival = kernel.new_arrival()
    begin(engine, process, generation, now, "generate")
    signals: list[Effect] = [Signalled(process.pid)] * process.pending_signals
    process.pending_signals = 0
    return signals


def end_generation(kernel: KernelState, pid: Pid, stopped: bool, now: float) -> list[Effect]:
    """End the generation under way, if there is one."""
    process = kernel.table.living(pid)
    if process.generation is None:
        return []
    return finish(kernel.engine_of(process), process, FinishReason.STOP if stopped else FinishReason.CANCELLED, now)


def throttle(kernel: KernelState, pid: Pid, on: bool, now: float) -> list[Effect]:
    """The reader of a generation does not keep up, or does again."""
    process = kernel.table.find(pid)
    generation = process.generation if process is not None else None
    if process is None or generation is None or generation.throttled == on:
        return []
    generation.throttled = on
    engine = kernel.engine_of(process)
    if on and process.state in (State.READY, State.RUNNING):
        leave(engine, process, State.WAITING, now, "its reader does not keep up")
    elif not on and process.state is State.WAITING:
        process.preempted = True
        continue_(engine, process, now, "its reader keeps up again")
    return []


def await_(kernel: KernelState, pid: Pid, what: str, now: float) -> list[Effect]:
    """The process waits for something from outside; what it computes meanwhile goes on."""
    process = kernel.table.living(pid)
    process.awaits.append(what)
    process.note(now, f"waits for {what}")
    if process.state is State.NEW:
        process.move(State.WAITING, now, f"waits for {what}")
    return []


def resume(kernel: KernelState, pid: Pid, what: str, now: float) -> list[Effect]:
    """A wait is over."""
    process = kernel.table.find(pid)
    if process is None or what not in process.awaits:
        return []
    process.awaits.remove(what)
    process.note(now, f"no longer waits for {what}")
    if process.state is State.WAITING and process.run is None and process.at_rest is State.NEW:
        process.move(State.NEW, now, "has no context")
    return []


def swap_out(kernel: KernelState, pid: Pid, now: float) -> list[Effect]:
    """Everything that no running process shares leaves the device; a generation goes on afterwards."""
    process = kernel.table.living(pid)
    engine = kernel.engine_of(process)
    _check_not_swapping(process)
    if engine.pager is None or not process.pages:
        return [SwapSettled(pid, 0, "")]
    if process.state in (State.READY, State.RUNNING):
        process.preempted = True
        leave(engine, process, State.WAITING, now, "swapped out on demand")
    process.swapping_out, process.swap_moved = True, 0
    engine.swapping[pid] = process
    return []


def swap_in(kernel: KernelState, pid: Pid) -> list[Effect]:
    """Pages that are in host only get a copy on the device. Raises `OutOfPages`."""
    process = kernel.table.living(pid)
    engine = kernel.engine_of(process)
    _check_not_swapping(process)
    pager = engine.pager
    if pager is None or engine.ready is None or process.state is State.RUNNING:
        return [SwapSettled(pid, 0, "")]
    activate_all(process, pager)
    missing = sum(page.device is None for page in process.pages)
    if missing > pager.available:
        deactivate_all(process, pager)
        raise OutOfPages(
            f"{missing} pages of process {pid} are off the device; "
            f"so many of the {pager.device.total} device pages cannot be had",
            "stop or swap out other processes",
        )
    bring_in_all(process, pager)
    deactivate_all(process, pager)
    process.swapping_in, process.swap_moved = True, missing
    engine.swapping[pid] = process
    return [] if missing else _nothing_to_bring(engine, process)


def _nothing_to_bring(engine: Engine, process: Process) -> list[Effect]:
    del engine.swapping[process.pid]
    process.swapping_in = False
    return [SwapSettled(process.pid, 0, "")]


def begin(engine: Engine, process: Process, generation: Generation | None, now: float, why: str) -> None:
    """Give a process at rest something to compute: a generation, or what is missing of its context."""
    process.run = Run(engine.new_sequence(), generation, planned=process.computed)
    if process.state is State.WAITING and not process.swapping_out:
        make_ready(engine, process, now, why)


def _check_generation(engine: Engine, process: Process) -> None:
    if not process.tokens:
        raise InvalidArgument(f"process {process.pid} has an empty context", "append something first")
    if engine.refused:
        raise DeviceError(f"the engine of {engine.model} refused: {engine.refused}", "llmosctl doctor")
    limits = process.limits
    if limits.generated_tokens is not None and process.generated_tokens >= limits.generated_tokens:
        raise LimitExceeded(limit_text(process, "generated_tokens", limits.generated_tokens), "llmosctl limit")
    if limits.context_tokens is not None and len(process.tokens) >= limits.context_tokens:
        raise LimitExceeded(limit_text(process, "context_tokens", limits.context_tokens), "llmosctl limit")
    geometry = engine.geometry
    if geometry is None:
        return
    if len(process.tokens) >= geometry.context_limit:
        raise too_long(len(process.tokens), geometry.context_limit)
    pages = pages_for(len(process.tokens) + 1, geometry.page_tokens)
    if pages > geometry.device_pages:
        raise OutOfPages(
            f"the context needs {pages} pages; "
            f"the device pool has {geometry.device_pages}, the host pool {geometry.host_pages}",
            "truncate the context, or give the engine more device memory (engine.device_memory)",
        )


def _check_children(kernel: KernelState, parent: Process, more: int) -> None:
    limit = parent.limits.children
    children = (kernel.table.get(pid) for pid in parent.children)
    living = sum(child.alive and child.scorer is None for child in children)
    if limit is not None and living + more > limit:
        raise LimitExceeded(
            f"{limit_text(parent, 'children', limit)}: it has {living}, {more} more are asked for",
            "llmosctl limit",
        )


def check_room(kernel: KernelState, principal: str, more: int) -> None:
    """Raise `LimitExceeded` or `TryAgain` unless the table takes so many processes more."""
    own, own_most = kernel.table.count(principal), kernel.settings.max_processes_each
    if own + more > own_most:
        raise LimitExceeded(
            f"{principal} has {own} processes; one principal may have {own_most} (security.processes_per_principal)",
            "wait for, or kill, some that are not needed",
        )
    most = kernel.settings.max_processes
    if len(kernel.table) + more > most:
        raise TryAgain(
            f"the process table has room for {most} processes", "wait for, or kill, some that are not needed"
        )


def refuse_when_draining(kernel: KernelState) -> None:
    """Raise `TryAgain` when nothing new is taken."""
    if kernel.draining:
        raise TryAgain("the daemon is draining and takes nothing new", "llmosctl drain --off, or wait for its restart")


def _check_not_swapping(process: Process) -> None:
    if process.swapping_in or process.swapping_out:
        raise Busy(f"pages of process {process.pid} are being moved already", "wait for the other swap call")


def refuse_scorer(process: Process) -> None:
    """Raise `Busy` for a process that the kernel made for a scoring: its context is not its owner's to change."""
    if process.scorer is not None:
        raise Busy(f"process {process.pid} scores a continuation for process {process.parent}", "fork that one instead")


def _at_rest(kernel: KernelState, pid: Pid) -> Process:
    process = kernel.table.living(pid)
    if process.generation is not None:
        raise Busy(f"process {pid} is generating", "wait for it or cancel it, then change its context")
    refuse_scorer(process)
    return process


def _given(limits: Limits) -> tuple[str, ...]:
    return tuple(name for name in LIMIT_NAMES if getattr(limits, name) is not None)


def child_of(kernel: KernelState, parent: Process, pid: Pid, now: float) -> Process:
    """A process like its parent, with the same context and no pages yet."""
    child = Process(
        pid=pid,
        parent=parent.pid,
        name=parent.name,
        app=parent.app,
        principal=parent.principal,
        tenant=parent.tenant,
        model=parent.model,
        created=now,
        priority=parent.priority,
        weight=parent.weight,
        deadline=parent.deadline,
        limits=parent.limits,
        share_key=parent.share_key,
        limit_setters=parent.limit_setters,
        since=now,
        arrival=kernel.new_arrival(),
        tokens=list(parent.tokens),
        spans=list(parent.spans),
        closed_role=parent.closed_role,
        chain=list(parent.chain),
    )
    child.note(now, f"forked from process {parent.pid}")
    if child.tokens:
        child.move(State.WAITING, now, "has a context")
    return child


def share_pages(parent: Process, child: Process, pager: Pager, most: int) -> None:
    """Have the child refer to its parent's pages of the first tokens that are computed, at most so many."""
    child.computed = child.high_water = min(parent.computed, most)
    child.service = parent.service
    child.pages = parent.pages[: pages_for(child.computed, pager.page_tokens)]
    for page in child.pages:
        pager.refer(page)
