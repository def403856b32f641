"""What must hold after every event, as code. Tests call `check` after each one; a violation is a bug."""

from __future__ import annotations

from collections import Counter

from llmos.kernel.core.engine import Engine
from llmos.kernel.core.kernel import Kernel
from llmos.kernel.core.pager import Pager
from llmos.kernel.core.pages import Page, PageState
from llmos.kernel.core.process import Process
from llmos.kernel.core.provenance import gaps
from llmos.kernel.core.table import ProcessTable
from llmos.kernel.ports.engine import Direction
from llmos.syscalls.abi.words import INIT, State


class Violation(AssertionError):
    """An invariant does not hold."""


def check(kernel: Kernel) -> None:
    """Raise `Violation` unless everything holds."""
    _tree(kernel.table)
    for engine in kernel.engines.values():
        _scheduling(engine)
        _scorings(engine)
        if engine.pager is not None:
            _slots(engine.pager)
            _references(engine)
            _tables(engine, engine.pager)


def _tree(table: ProcessTable) -> None:
    for process in table:
        if process.alive and process.parent != INIT:
            parent = table.get(process.parent)
            _hold(
                parent.alive and process.pid in parent.children,
                f"process {process.pid} has a living parent that knows it",
            )
        _hold(all(child in table for child in process.children), f"children of {process.pid} exist")
        _hold(
            (process.exit is not None) == (process.state is State.EXITED),
            f"process {process.pid} has an exit iff exited",
        )
        _hold(process.alive or not (process.pages or process.run), f"exited process {process.pid} holds nothing")
        wrong = next(gaps(process.spans, len(process.tokens)), "")
        _hold(not wrong, f"spans cover the context of {process.pid}: {wrong}")


def _scheduling(engine: Engine) -> None:
    for process in engine.processes:
        if process.model != engine.model:
            continue
        _hold(
            (process.pid in engine.running) == (process.state is State.RUNNING),
            f"{process.pid} runs iff running",
        )
        _hold((process in engine.queue) == (process.state is State.READY), f"{process.pid} is queued iff ready")
        if process.state in (State.READY, State.RUNNING):
            _hold(process.run is not None, f"{process.pid} is {process.state} with work")
        run = process.run
        if run is not None:
            _hold(process.computed <= run.planned, f"{process.pid} planned what it computed")
            _hold(run.samples_in_flight >= 0, f"{process.pid} has samples in flight")
        _hold(process.computed <= len(process.tokens), f"{process.pid} computed known tokens only")
    if engine.ready is not None:
        _hold(len(engine.running) <= engine.ready.max_batch, "no more run than there are slots")
        _hold(len(engine.in_flight) <= engine.ready.lookahead + 1, "no more plans are in flight than wanted")
    else:
        _hold(not engine.in_flight and not engine.running, "nothing runs on an engine that is not up")


def _scorings(engine: Engine) -> None:
    _hold(not engine.due, "scorings are settled when an event is over")
    for process in engine.processes:
        scorer = process.scorer
        if scorer is None or process.model != engine.model:
            continue
        of = engine.processes.find(process.parent)
        _hold(engine.scorings.get(scorer.scoring.call) is scorer.scoring, f"{process.pid} belongs to a scoring")
        _hold(not scorer.scoring.over and of is not None and of.alive, f"what {process.pid} scores is wanted")
        scored = process.computed - scorer.scoring.context_tokens + 1
        _hold(len(scorer.logprobs) >= scored, f"{process.pid} has scores of what it computed")
        _hold(len(scorer.logprobs) == len(scorer.likeliest), f"{process.pid} knows of each token if it is likeliest")


def _slots(pager: Pager) -> None:
    for name, pool, used in (
        ("device", pager.device, [page.device for page in pager.pages if page.device is not None]),
        ("host", pager.host, [page.host for page in pager.pages if page.host is not None]),
    ):
        free = pool.free_slots()
        _hold(len(free) == pool.free, f"no {name} slot is free twice")
        _hold(len(set(used)) == len(used), f"no {name} slot holds two pages")
        _hold(free.isdisjoint(used), f"no used {name} slot is free")
        _hold(
            len(free) + len(used) == pool.total,
            f"every {name} slot is free or used: {len(free)} + {len(used)} of {pool.total}",
        )
    for page in pager.pages:
        _page(pager, page)
    held: Counter[str] = Counter(page.account for page in pager.pages if page.references)
    _hold(pager.held == held, "pages that are referred to are charged to their accounts")
    leaving = sum(pending.direction is Direction.DEVICE_TO_HOST for pending in pager.pending.values())
    _hold(leaving == pager.leaving == sum(page.leaving for page in pager.pages), "pages that leave are counted")


def _page(pager: Pager, page: Page) -> None:
    _hold(page.state is not PageState.FREE, "a free page is gone")
    _hold(page.references >= 0 and page.active >= 0 and page.pins >= 0, "counts are not negative")
    _hold(page.active <= page.references, "who runs refers")
    _hold(0 <= page.filled <= pager.page_tokens, "a page is filled with what it can hold")
    _hold(page.state is PageState.TAIL or page.filled == pager.page_tokens, "a sealed page is full")
    _hold(page.content is None or page.state is PageState.SEALED, "only sealed pages are named")
    _hold(page.host is not None or page.host_tokens == 0, "host tokens are in a host slot")
    _hold(not page.active or page.device is not None, "what runs is on the device")
    lost = page.device is None and page.host_tokens < page.filled
    _hold(not lost, "every filled page has a copy of all of it")
    if page.references == 0 and not page.pins:
        _hold(page.content is not None, "a page nobody refers to is a cache")
    _hold(
        (page.shelf is not None) == (page.device is not None and not page.active and not page.pins),
        "idle pages are shelved",
    )


def _references(engine: Engine) -> None:
    if engine.pager is None:
        return
    references: Counter[int] = Counter()
    active: Counter[int] = Counter()
    for process in engine.processes:
        if process.model == engine.model:
            references.update(id(page) for page in process.pages)
            if process.state is State.RUNNING:
                active.update(id(page) for page in process.pages)
    pins: Counter[int] = Counter(id(pending.page) for pending in engine.pager.pending.values())
    for flight in engine.in_flight:
        for part in flight.parts:
            pins.update(id(page) for page in part.written)
    for page in engine.pager.pages:
        _hold(page.references == references.pop(id(page), 0), "references are counted")
        _hold(page.active == active[id(page)], "active references are counted")
        _hold(page.pins == pins[id(page)], "pins are counted")
    _hold(not references, "page tables refer to pages that exist")
    for named in engine.pager.index.pages():
        _hold(named in engine.pager.pages, "named pages exist")


def _tables(engine: Engine, pager: Pager) -> None:
    size = pager.page_tokens
    for process in engine.processes:
        if process.model == engine.model:
            _table(process, size)


def _table(process: Process, size: int) -> None:
    _hold(len(process.pages) * size >= process.computed, f"{process.pid} has pages for what it computed")
    for index, page in enumerate(process.pages):
        need = min(size, max(0, process.computed - index * size))
        _hold(page.filled >= need, f"page {index} of {process.pid} holds what was computed")


def _hold(holds: bool, what: str) -> None:
    if not holds:
        raise Violation(what)
