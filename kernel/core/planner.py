"""Builds the next plan of an engine: who is admitted, who is preempted, who gets how many tokens, which pages move.

Iteration-level scheduling with chunked prefill (Yu et al., Orca, OSDI 2022; Agrawal et al., Sarathi-Serve, OSDI
2024), with
swap as the answer to pressure. Victims are deterministic: lowest class, then cheapest to bring back, then newest.
"""

from __future__ import annotations

from collections.abc import Iterator

from llmos.kernel.core.chunks import opening, targets
from llmos.kernel.core.effects import Displaced, Effect, Submit, SwapSettled
from llmos.kernel.core.engine import CoreSettings, Engine, InFlight, Part
from llmos.kernel.core.life import continue_, fail, finish, preempt
from llmos.kernel.core.pager import Pager
from llmos.kernel.core.pages import Page
from llmos.kernel.core.policy import QUANTUM, policy_for
from llmos.kernel.core.process import RANK, Process, Run
from llmos.kernel.core.residency import (
    activate_all,
    attach_shared,
    bring_in_all,
    copies_on_write,
    deactivate_all,
    pages_for,
    swap_out_step,
    write,
)
from llmos.kernel.ports.engine import Chunk, Open, Plan, Ready
from llmos.syscalls.abi.errors import Error, LimitExceeded, MessageTooLong, OutOfPages
from llmos.syscalls.abi.words import FinishReason, PriorityClass, State

PATIENCE = 8
"""Steps that a running process sits out for the prefill of a higher class before it gets one."""


class Planner:
    """One use: plans one step of one engine at one time."""

    def __init__(self, engine: Engine, settings: CoreSettings, now: float) -> None:
        if engine.pager is None or engine.ready is None:
            raise AssertionError("planning for an engine that is not up")
        self.engine = engine
        self.settings = settings
        self.now = now
        self.pager: Pager = engine.pager
        self.ready: Ready = engine.ready
        self.effects: list[Effect] = []
        self.changed = False
        """Something happened that makes planning again worth while, if this gave no plan."""
        self._opened: list[Open] = []

    def plan(self) -> list[Effect]:
        """The next plan as an effect, if there is anything to do, and what became clear on the way."""
        self.engine.queue.age(self.now)
        self._swap_out()
        self._admit()
        parts = tuple(self._parts())
        self.engine.queue.lift(list(self.engine.running.values()))
        moves = self.pager.take_outbox()
        self._account_evictions()
        if not parts and not moves:
            return self.effects
        plan = Plan(
            number=self.engine.new_plan_number(),
            moves=moves,
            close=tuple(self.engine.closing),
            open=tuple(self._opened),
            chunks=tuple(chunk for _, chunk in parts),
        )
        self.engine.closing.clear()
        self.engine.in_flight.append(InFlight(plan.number, tuple(part for part, _ in parts)))
        self.effects.append(Submit(self.engine.model, plan))
        return self.effects

    # --- swapping out on demand

    def _swap_out(self) -> None:
        for process in list(self.engine.swapping.values()):
            if not process.swapping_out:
                continue
            left, under_way, short = swap_out_step(process, self.pager)
            process.swap_moved += left
            if under_way == 0:
                self._settle_swap(process, self._no_room(0) if short else "")

    def _settle_swap(self, process: Process, short: str) -> None:
        del self.engine.swapping[process.pid]
        process.swapping_out = False
        self.changed = True
        self.effects.append(SwapSettled(process.pid, process.swap_moved, short))
        if process.state is State.WAITING and process.run is not None:
            continue_(self.engine, process, self.now, "swapped out")

    # --- admission

    def _admit(self) -> None:
        while (process := self.engine.queue.head()) is not None:
            if not self._has_slot_for(process) or not self._fits(process):
                return

    def _has_slot_for(self, process: Process) -> bool:
        if len(self.engine.running) < self.ready.max_batch:
            return True
        victim = self._victim(process)
        if victim is not None:
            self._preempt(victim, process, "slot")
        return victim is not None

    def _fits(self, process: Process) -> bool:
        """Admit the head of the queue; False when it has to wait. Also True when it turned out that it never will."""
        if self._never_fits(process):
            return True
        if process.run is not None and process.run.planned == process.computed:
            self._share(process)
        activate_all(process, self.pager)
        need = self._need(process)
        while self.pager.available < need and (victim := self._victim(process)) is not None:
            self._preempt(victim, process, "pages")
        if self.pager.available >= need:
            self._start(process)
            return True
        deactivate_all(process, self.pager)
        return self._make_room(process, need)

    def _never_fits(self, process: Process) -> bool:
        pages = pages_for(len(process.tokens) + 1, self.pager.page_tokens)
        if len(process.tokens) >= self.ready.context_limit:
            error = too_long(len(process.tokens), self.ready.context_limit)
            self._fail(process, error)
        elif pages > self.pager.device.total:
            self._fail(process, OutOfPages(self._no_room(pages)))
        else:
            return False
        return True

    def _share(self, process: Process) -> int:
        gained = attach_shared(process, self.pager, process.share_key)
        run = process.run
        if run is not None and gained:
            run.planned = process.computed
            if run.generation is not None and not run.began:
                run.generation.cached_tokens = process.computed
        return gained

    def _need(self, process: Process) -> int:
        size = self.pager.page_tokens
        missing = sum(page.device is None for page in process.pages)
        growth = max(0, pages_for(len(process.tokens) + 1, size) - len(process.pages))
        promised = sum(self._promised(other) for other in self.engine.running.values() if other.rank >= process.rank)
        return missing + growth + copies_on_write(process, size) + promised

    def _promised(self, running: Process) -> int:
        """Pages that a running process is going to need: for the rest of its context, or for what it writes next."""
        return max(1, pages_for(len(running.tokens) + 1, self.pager.page_tokens) - len(running.pages))

    def _start(self, process: Process) -> None:
        self.engine.queue.remove(process)
        self.engine.running[process.pid] = process
        process.move(State.RUNNING, self.now, "admitted")
        process.preempted, process.skipped = False, 0
        run = process.run
        if run is None:
            raise AssertionError(f"process {process.pid} was ready without work")
        bring_in_all(process, self.pager)
        # While it did not run, its pages may have left and come back elsewhere, moved by others that share them.
        run.unsent_from = 0
        run.admitted_service = 0.0
        if not run.began and run.generation is not None:
            run.generation.cached_tokens = process.computed
        run.began = True

    def _make_room(self, process: Process, need: int) -> bool:
        """Pages are dirty or in use: send some to host, or find that nothing will ever help."""
        missing = need - self.pager.available - self.pager.leaving
        started = self.pager.push_out(missing) if missing > 0 else 0
        busy = self.engine.running or self.engine.in_flight or self.pager.leaving or started
        if busy:
            return False
        self._fail(process, OutOfPages(self._no_room(need)))
        return True

    # --- victims

    def _victim(self, process: Process) -> Process | None:
        """Who of the running ones has to give way to this waiting one."""
        candidates = [other for other in self.engine.running.values() if self._gives_way(other, process)]
        return min(candidates, key=_victim_order, default=None)

    def _gives_way(self, running: Process, waiting: Process) -> bool:
        if running.rank != waiting.rank:
            return running.rank < waiting.rank
        served = running.run.admitted_service if running.run is not None else 0.0
        policy = policy_for(self.settings.policy, waiting)
        return served >= QUANTUM and policy.ahead(running, waiting) > QUANTUM

    def _preempt(self, victim: Process, winner: Process, what: str) -> None:
        # A process of another tenant is not mentioned: whoever may ask about the victim may not know of it.
        who = f"process {winner.pid}" if winner.tenant == victim.tenant else "another process"
        reason = (
            f"preempted for {who} ({winner.priority.value}), which needs its {what}: "
            f"lowest class first, then cheapest to bring back ({len(victim.pages)} pages), then newest"
        )
        if winner.principal != victim.principal:
            self.effects.append(Displaced(victim.pid, winner.pid))
        self.changed = True
        preempt(self.engine, victim, self.now, reason)

    def _fail(self, process: Process, error: Error) -> None:
        self.changed = True
        self.effects += fail(self.engine, process, error, self.now)

    # --- the step

    def _parts(self) -> Iterator[tuple[Part, Chunk]]:
        order = sorted(self.engine.running.values(), key=lambda process: (-process.rank, process.arrival))
        top = max((process.rank for process in order if process.outstanding > 1), default=0)
        budget = self.ready.step_tokens
        decodes = sum(process.decoding for process in order)
        for process in order:
            if process.pid not in self.engine.running or self._done_ahead(process) or self._sits_out(process, top):
                continue
            decodes -= process.decoding
            count = min(process.outstanding, max(budget - decodes, 0), max(budget, 0))
            if count <= 0:
                continue
            part = self._part(process, count)
            if part is not None:
                budget -= part[0].count
                yield part

    def _done_ahead(self, process: Process) -> bool:
        """A prefill ahead of need found everything computed by others already."""
        run = process.run
        if run is None or run.generation is not None or process.outstanding or run.planned != process.computed:
            return False
        self.effects += finish(self.engine, process, FinishReason.STOP, self.now)
        self.changed = True
        return True

    def _sits_out(self, process: Process, top: int) -> bool:
        """While an urgent process has its prefill to do, lower ones do not make its steps longer."""
        if process.rank >= top or top < RANK[PriorityClass.INTERACTIVE] or process.skipped >= PATIENCE:
            process.skipped = 0
            return False
        process.skipped += 1
        return True

    def _part(self, process: Process, count: int) -> tuple[Part, Chunk] | None:
        run = process.run
        if run is None:
            raise AssertionError(f"process {process.pid} runs nothing")
        if run.planned == process.computed and run.planned < len(process.tokens) and self._take_shared(process, run):
            count = min(count, process.outstanding)
            if self._done_ahead(process):
                return None
        if self._over_share(process, run.planned + count):
            return None
        pages = write(process, self.pager, run.planned, count)
        while pages is None:
            if not self._relieve(process):
                return None
            pages = write(process, self.pager, run.planned, count)
        for page in pages:
            self.pager.pin(page)
        chunk = self._chunk(process, run, count)
        part = Part(process, run, run.planned, count, chunk.sample, pages)
        run.planned += count
        run.samples_in_flight += chunk.sample
        return part, chunk

    def _over_share(self, process: Process, length: int) -> bool:
        """Its principal may not hold the pages that this part needs: it ends, so that others find room."""
        more = pages_for(length, self.pager.page_tokens) - len(process.pages)
        total = self.pager.device.total + self.pager.host.total
        share = int(total * self.settings.page_share)
        held = self.pager.held.get(process.principal, 0)
        if more <= 0 or held + more <= share:
            return False
        self._fail(
            process,
            LimitExceeded(
                f"{process.principal} holds {held} pages and needs {more} more; the share of one principal is {share} "
                f"of {total} (security.page_share)",
                "end processes that are not needed, or truncate their contexts",
            ),
        )
        return True

    def _take_shared(self, process: Process, run: Run) -> bool:
        """Pages that somebody else has computed meanwhile are taken over, when they are or can be brought to the
        device.
        """
        before = len(process.pages)
        if not self._share(process):
            return False
        for index in range(before, len(process.pages)):
            page = process.pages[index]
            self.pager.activate(page, process.pid, process.rank)
        missing = [page for page in process.pages[before:] if page.device is None]
        if len(missing) > self.pager.available:
            self._give_back_shared(process, run, before)
            return False
        bring_in_all(process, self.pager)
        return True

    def _give_back_shared(self, process: Process, run: Run, keep: int) -> None:
        for page in reversed(process.pages[keep:]):
            self.pager.deactivate(page)
            self.pager.release(page)
        del process.pages[keep:]
        process.computed = run.planned = keep * self.pager.page_tokens

    def _chunk(self, process: Process, run: Run, count: int) -> Chunk:
        if not run.opened:
            self._opened.append(opening(process, run))
            run.opened = True
        start, end = run.planned, run.planned + count
        pages_from = run.unsent_from
        slots = tuple(_slot(page) for page in process.pages[pages_from:])
        run.unsent_from = len(process.pages)
        return Chunk(
            sequence=run.sequence,
            start=start,
            tokens=tuple(process.tokens[start:end]),
            pages_from=pages_from,
            pages=slots,
            sample=run.generation is not None and end >= len(process.tokens),
            targets=targets(process, start, end) if process.scorer is not None else (),
        )

    def _relieve(self, process: Process) -> bool:
        """A running process needs a page and there is none: True when trying again makes sense in this step."""
        lower = [p for p in self.engine.running.values() if p.rank < process.rank and p is not process]
        if lower:
            self._preempt(min(lower, key=_victim_order), process, "pages")
            return True
        if self.pager.leaving or self.pager.push_out(1):
            return False
        later = [p for p in self.engine.running.values() if _comes_after(p, process)]
        if later:
            self._preempt(min(later, key=_victim_order), process, "pages")
            return True
        if len(self.engine.running) > 1:
            self.changed = True
            preempt(self.engine, process, self.now, "preempted itself: no page is left for its next token")
        elif not self.engine.in_flight:
            self._fail(process, OutOfPages(self._no_room(1)))
        return False

    # --- words

    def _account_evictions(self) -> None:
        evicted, self.pager.evicted = self.pager.evicted, []
        for page in evicted:
            owner = self.engine.processes.find(page.owner)
            if owner is not None:
                owner.swapped_out_pages += 1

    def _no_room(self, need: int) -> str:
        """What there is; not how much of it is free, which would tell about others."""
        wanted = f"{need} pages are needed; " if need else ""
        return f"{wanted}the device has {self.pager.device.total} pages, the host {self.pager.host.total}"


def too_long(tokens: int, limit: int) -> MessageTooLong:
    """The context does not fit the model."""
    return MessageTooLong(
        f"the context has {tokens} tokens; the model takes {limit}, the next one included",
        "truncate or rewind it, or use a model with a longer context",
    )


def _victim_order(process: Process) -> tuple[int, int, int]:
    return process.rank, len(process.pages), -process.arrival


def _comes_after(other: Process, process: Process) -> bool:
    return other is not process and other.rank == process.rank and other.arrival > process.arrival


def _slot(page: Page) -> int:
    if page.device is None:
        raise AssertionError("a planned page is not on the device")
    return page.device
