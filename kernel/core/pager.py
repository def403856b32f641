"""The pager: which pages exist, who refers to them, and which slot of which tier holds them.

It decides nothing about processes. What is slow is two-step: a move is prepared here (slot taken, page pinned), travels
in the next plan, and is completed when the engine reports it. Only then does a copy count.

Slots may be named again by a later plan before an earlier one has run: engines run plans in order.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from llmos.kernel.core.pages import Page, PageState, Shelf, SlotPool
from llmos.kernel.core.sharing import ShareIndex
from llmos.kernel.ports.engine import Direction, Move, MoveId
from llmos.syscalls.abi.words import Pid

RANKS = 6
"""0 for pages nobody refers to, 1 to 5 for the priority classes from idle to realtime."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A move under way. `tokens` is how many leading tokens the copy will have."""

    page: Page
    direction: Direction
    slot: int
    tokens: int
    version: int


@dataclass(slots=True)
class PagerCounters:
    """What happened, in pages."""

    moved_out: int = 0
    moved_in: int = 0
    evicted: int = 0
    copied: int = 0
    shared_hits: int = 0
    written_behind: int = 0


class Pager:
    """Pages of one engine over its device and host pools."""

    def __init__(self, page_tokens: int, device_pages: int, host_pages: int) -> None:
        self.page_tokens = page_tokens
        self.device = SlotPool(device_pages)
        self.host = SlotPool(host_pages)
        self.index = ShareIndex()
        self.counters = PagerCounters()
        self.pages: dict[Page, None] = {}
        self.pending: dict[MoveId, Pending] = {}
        self.outbox: list[Move] = []
        self.held: dict[str, int] = {}
        """Pages that each principal's processes refer to."""
        self.evicted: list[Page] = []
        """Pages that lost their device copy since the list was last taken; for accounting."""
        self._clean: tuple[Shelf, ...] = tuple(OrderedDict() for _ in range(RANKS))
        self._dirty: tuple[Shelf, ...] = tuple(OrderedDict() for _ in range(RANKS))
        self._cached: Shelf = OrderedDict()
        self._mirrored: Shelf = OrderedDict()
        self._leaving = 0
        self._next_move = 1

    # --- what there is

    @property
    def available(self) -> int:
        """Device slots that can be had at once: free, or held by an idle clean page."""
        return self.device.free + sum(map(len, self._clean))

    @property
    def leaving(self) -> int:
        """Pages on their way to host."""
        return self._leaving

    @property
    def cached_device(self) -> int:
        """Device slots that hold pages nobody refers to."""
        return len(self._clean[0])

    @property
    def cached_host(self) -> int:
        """Host slots that hold pages nobody refers to."""
        return len(self._cached)

    # --- references

    def new_page(self, owner: Pid, account: str, rank: int) -> Page | None:
        """An empty active TAIL page with a device slot; None when none can be had at once."""
        slot = self.take_device_slot()
        if slot is None:
            return None
        page = Page(owner, account, rank=rank, device=slot, active=1)
        self.pages[page] = None
        self._charge(page, 1)
        self._file(page)
        return page

    def refer(self, page: Page) -> None:
        """One more process has the page."""
        page.references += 1
        if page.references == 1:
            self._charge(page, 1)
            self._file(page)

    def release(self, page: Page) -> None:
        """One process less; the last reference to a named page leaves it as a cache."""
        page.references -= 1
        if page.references == 0:
            self._charge(page, -1)
        self._settle(page)

    def activate(self, page: Page, owner: Pid, rank: int) -> None:
        """A running process needs the page on the device."""
        page.active += 1
        page.owner, page.rank = owner, max(rank, page.rank if page.active > 1 else 0)
        self._file(page)

    def deactivate(self, page: Page) -> None:
        """A running process needs it no longer."""
        page.active -= 1
        self._file(page)

    def pin(self, page: Page) -> None:
        """Keep the page as it is until `unpin`."""
        page.pins += 1
        self._file(page)

    def unpin(self, page: Page) -> None:
        """The reason of a `pin` is gone."""
        page.pins -= 1
        self._settle(page)

    def mark_filled(self, page: Page, tokens: int) -> None:
        """KV of the first `tokens` tokens is confirmed."""
        if tokens > page.filled:
            page.filled = tokens
            self._file(page)

    def seal(self, page: Page, content: bytes, tokens: tuple[int, ...]) -> None:
        """The page is full: nobody writes it any more, and it may be shared. Starts its copy to host."""
        page.state = PageState.SEALED
        self.index.add(page, content, tokens)
        self.write_behind(page)

    def cut(self, page: Page, tokens: int) -> bool:
        """Take tokens back from a page with one reference, so that it can be written; False if it is shared."""
        if page.references > 1:
            return False
        self.index.drop(page)
        page.state = PageState.TAIL
        page.filled = min(page.filled, tokens)
        page.host_tokens = min(page.host_tokens, tokens)
        page.version += 1
        self._file(page)
        return True

    def share(self, content: bytes, tokens: tuple[int, ...]) -> Page | None:
        """A page with this content, with one more reference; None if there is none."""
        page = self.index.find(content, tokens)
        if page is None:
            return None
        self.counters.shared_hits += 1
        self.refer(page)
        return page

    # --- device slots

    def take_device_slot(self) -> int | None:
        """A free device slot, after evicting the least important idle clean page if need be."""
        slot = self.device.take()
        if slot is None and self._evict_one():
            slot = self.device.take()
        return slot

    def evict(self, page: Page) -> bool:
        """Drop the device copy of an idle clean page; False when it is not."""
        if page.shelf is None or page.device is None or not page.clean:
            return False
        self._drop_device(page)
        return True

    def bring_in(self, page: Page) -> bool:
        """Give an active page a device slot, and the copy from host if it has content; False when no slot can be
        had.
        """
        slot = self.take_device_slot()
        if slot is None:
            return False
        page.device = slot
        if page.host is not None and page.filled:
            self.counters.moved_in += 1
            self._start(page, Direction.HOST_TO_DEVICE, page.host, slot, page.host_tokens)
        self._file(page)
        return True

    def private_copy(self, page: Page, tokens: int, owner: Pid, account: str, rank: int) -> Page | None:
        """A new active TAIL page with the first `tokens` tokens of a shared one (copy on write); None when no slot
        can be had.
        """
        copy = self.new_page(owner, account, rank)
        if copy is None or copy.device is None:
            return None
        copy.filled = min(tokens, page.filled)
        self.counters.copied += 1
        if page.device is not None:
            self._start(copy, Direction.DEVICE_TO_DEVICE, page.device, copy.device, tokens)
        elif page.host is not None:
            self._start(copy, Direction.HOST_TO_DEVICE, page.host, copy.device, tokens)
        return copy

    # --- host slots

    def write_behind(self, page: Page) -> None:
        """Start the copy to host of a page, if a host slot is free or holds an unused copy."""
        if page.device is None or page.leaving or page.host_tokens >= page.filled:
            return
        if page.host is None:
            page.host = self._take_host_slot(steal=False)
        if page.host is not None:
            self.counters.written_behind += 1
            self._send_out(page, page.filled)

    def push_out(self, count: int) -> int:
        """Start copies to host of up to `count` idle dirty pages, least important first; how many were started."""
        started = 0
        for shelf in self._dirty:
            for page in list(shelf):
                if started >= count or not self.push_page(page):
                    return started
                started += 1
        return started

    def push_page(self, page: Page) -> bool:
        """Start the copy to host of one page, whatever it takes; False when no host slot can be had."""
        if page.host is None:
            page.host = self._take_host_slot(steal=True)
        if page.host is None or page.device is None:
            return False
        self.counters.moved_out += 1
        self._send_out(page, page.filled)
        return True

    # --- moves

    def take_outbox(self) -> tuple[Move, ...]:
        """The moves for the next plan, in order."""
        moves, self.outbox = tuple(self.outbox), []
        return moves

    def complete(self, move: MoveId) -> Pending:
        """The engine has made this copy."""
        pending = self.pending.pop(move)
        page = pending.page
        if pending.direction is Direction.DEVICE_TO_HOST:
            self._leaving -= 1
            page.leaving = False
            if page.version == pending.version:
                page.host_tokens = pending.tokens
        self.unpin(page)
        return pending

    def lose_device(self) -> None:
        """The engine is gone: no device copy exists any more, and no move under way will be completed."""
        for pending in self.pending.values():
            pending.page.leaving = False
        self.pending.clear()
        self.outbox.clear()
        self._leaving = 0
        for page in list(self.pages):
            page.pins, page.active = 0, 0
            if page.device is not None:
                self.device.give(page.device)
                page.device = None
            if page.host_tokens < page.filled:
                self.index.drop(page)
                page.filled, page.state = page.host_tokens, PageState.TAIL
            self._settle(page)

    # --- inside

    def _charge(self, page: Page, pages: int) -> None:
        held = self.held.get(page.account, 0) + pages
        if held:
            self.held[page.account] = held
        else:
            del self.held[page.account]

    def _start(self, page: Page, direction: Direction, source: int, target: int, tokens: int) -> None:
        move = MoveId(self._next_move)
        self._next_move += 1
        self.pending[move] = Pending(page, direction, target, tokens, page.version)
        self.outbox.append(Move(move, direction, source, target))
        self.pin(page)

    def _send_out(self, page: Page, tokens: int) -> None:
        if page.device is None or page.host is None:
            raise AssertionError("a copy to host needs a slot on both sides")
        page.leaving, page.host_tokens = True, 0
        self._leaving += 1
        self._start(page, Direction.DEVICE_TO_HOST, page.device, page.host, tokens)

    def _evict_one(self) -> bool:
        for shelf in self._clean:
            if shelf:
                self._drop_device(next(iter(shelf)))
                return True
        return False

    def _drop_device(self, page: Page) -> None:
        if page.device is None:
            raise AssertionError("evicting a page that is not resident")
        self.device.give(page.device)
        page.device = None
        self.counters.evicted += 1
        if page.references:
            self.evicted.append(page)
        self._settle(page)

    def _take_host_slot(self, steal: bool) -> int | None:
        slot = self.host.take()
        if slot is None and self._cached:
            self._drop_host(next(iter(self._cached)))
            slot = self.host.take()
        if slot is None and steal and self._mirrored:
            self._drop_host(next(iter(self._mirrored)))
            slot = self.host.take()
        return slot

    def _drop_host(self, page: Page) -> None:
        if page.host is None:
            raise AssertionError("dropping a host copy that is not there")
        self.host.give(page.host)
        page.host, page.host_tokens = None, 0
        self._settle(page)

    def _settle(self, page: Page) -> None:
        """Free a page that nobody can come back to; otherwise put it where it belongs now."""
        if page.references == 0 and page.pins == 0 and not self._worth_caching(page):
            self._free(page)
        else:
            self._file(page)

    def _worth_caching(self, page: Page) -> bool:
        saved = page.host_tokens >= page.filled
        return page.content is not None and (page.device is not None or (saved and page.host is not None))

    def _free(self, page: Page) -> None:
        self.index.drop(page)
        self._unfile(page)
        if page.device is not None:
            self.device.give(page.device)
        if page.host is not None:
            self.host.give(page.host)
        page.device = page.host = None
        page.state = PageState.FREE
        del self.pages[page]

    def _file(self, page: Page) -> None:
        self._unfile(page)
        if page.pins:
            return
        if page.device is not None and page.active == 0:
            bucket = page.rank if page.references else 0
            self._shelve(page, (self._clean if page.clean else self._dirty)[bucket])
        if page.host is not None and page.references == 0:
            page.mirror = self._cached
        elif page.host is not None and page.device is not None and page.active:
            page.mirror = self._mirrored
        if page.mirror is not None:
            page.mirror[page] = None

    @staticmethod
    def _shelve(page: Page, shelf: Shelf) -> None:
        shelf[page] = None
        page.shelf = shelf

    @staticmethod
    def _unfile(page: Page) -> None:
        if page.shelf is not None:
            del page.shelf[page]
        if page.mirror is not None:
            del page.mirror[page]
        page.shelf = page.mirror = None
