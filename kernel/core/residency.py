"""The page table of one process: what is written where, what is shared, what leaves and comes back.

Functions over a process and the pager of its engine. They never decide who gets pages, only how.
"""

from __future__ import annotations

from llmos.kernel.core.pager import Pager
from llmos.kernel.core.pages import Page, PageState
from llmos.kernel.core.process import Process
from llmos.kernel.core.sharing import content_id


def pages_for(tokens: int, page_tokens: int) -> int:
    """How many pages hold so many tokens."""
    return -(-tokens // page_tokens)


def chain_id(process: Process, key: bytes, index: int, page_tokens: int) -> bytes:
    """The content id of the process's page `index`, which must be full."""
    chain = process.chain
    while len(chain) <= index:
        start = len(chain) * page_tokens
        tokens = tuple(process.tokens[start : start + page_tokens])
        chain.append(content_id(key, chain[-1] if chain else b"", tokens))
    return chain[index]


def attach_shared(process: Process, pager: Pager, key: bytes) -> int:
    """Take sealed pages that hold the next tokens already, as long as there are some; how many tokens were gained.

    The last token is always left to compute, because its logits are needed. Nothing of the process may be in flight.
    """
    size, gained = pager.page_tokens, 0
    while len(process.pages) * size == process.computed and process.computed + size < process.shareable_tokens:
        start = process.computed
        tokens = tuple(process.tokens[start : start + size])
        page = pager.share(chain_id(process, key, start // size, size), tokens)
        if page is None:
            break
        process.pages.append(page)
        process.computed += size
        gained += size
    return gained


def activate_all(process: Process, pager: Pager) -> None:
    """Its pages are needed on the device."""
    for page in process.pages:
        pager.activate(page, process.pid, process.rank)


def deactivate_all(process: Process, pager: Pager) -> None:
    """Its pages are not needed for now; the last one is the first to go."""
    for page in reversed(process.pages):
        pager.deactivate(page)


def write(process: Process, pager: Pager, start: int, count: int) -> tuple[Page, ...] | None:
    """Make positions `start` to `start + count - 1` of a running process writable; the pages, or None when slots
    ran out.

    What is shared is copied first (copy on write); what is missing is added. On None the table is still sound.
    """
    size = pager.page_tokens
    first, last = start // size, (start + count - 1) // size
    for index in range(first, last + 1):
        offset = max(0, start - index * size)
        page = process.pages[index] if index < len(process.pages) else None
        if page is None:
            fresh = pager.new_page(process.pid, process.principal, process.rank)
            if fresh is None:
                return None
            process.pages.append(fresh)
        elif not _own(page, pager, offset) and not _replace(process, pager, index, offset):
            return None
    return tuple(process.pages[first : last + 1])


def copies_on_write(process: Process, size: int) -> int:
    """How many pages must be copied before the process can write: 0 or 1."""
    index = process.computed // size
    return int(index < len(process.pages) and process.pages[index].references > 1)


def confirm(process: Process, pager: Pager, key: bytes, start: int, count: int) -> None:
    """KV of positions `start` to `start + count - 1` is there: count what was computed twice, seal what is full."""
    size, end = pager.page_tokens, start + count
    process.recomputed_tokens += max(0, min(end, process.high_water) - start)
    process.computed = end
    process.high_water = max(process.high_water, end)
    for index in range(start // size, (end - 1) // size + 1):
        page = process.pages[index]
        pager.mark_filled(page, min(size, end - index * size))
        if end >= (index + 1) * size and page.state is PageState.TAIL:
            tokens = tuple(process.tokens[index * size : (index + 1) * size])
            pager.seal(page, chain_id(process, key, index, size), tokens)


def trim(process: Process, pager: Pager, length: int) -> None:
    """The context was cut to `length` tokens: give back what lies beyond. The process is not running."""
    size = pager.page_tokens
    _drop_pages(process, pager, pages_for(length, size))
    process.computed = min(process.computed, length)
    process.high_water = min(process.high_water, length)
    del process.chain[length // size :]
    part = length % size
    if part and len(process.pages) * size > length and process.pages[-1].filled > part:
        pager.cut(process.pages[-1], part)


def release_all(process: Process, pager: Pager) -> None:
    """The process needs no page any more."""
    _drop_pages(process, pager, 0)
    process.computed = 0


def forget_lost(process: Process, pager: Pager) -> None:
    """After the device was lost: keep what is in host pages without a gap, drop the rest of the table."""
    size = pager.page_tokens
    whole = next((i for i, page in enumerate(process.pages) if page.filled < size), len(process.pages))
    part = process.pages[whole].filled if whole < len(process.pages) else 0
    process.computed = min(process.computed, whole * size + part)
    _drop_pages(process, pager, pages_for(process.computed, size))


def swap_out_step(process: Process, pager: Pager) -> tuple[int, int, bool]:
    """Let pages leave as far as they can now: how many left, how many are on the way, and whether host had no room.

    Pages that a running process needs stay.
    """
    left, under_way, short = 0, 0, False
    for page in reversed(process.pages):
        if page.device is None or page.active:
            continue
        if page.pins:
            under_way += 1
        elif pager.evict(page):
            left += 1
        elif not short and pager.push_page(page):
            under_way += 1
        else:
            short = True
    return left, under_way, short


def bring_in_all(process: Process, pager: Pager) -> None:
    """Give every page of an activated process a device slot; there must be enough."""
    for page in process.pages:
        if page.device is None:
            if not pager.bring_in(page):
                raise AssertionError("no device slot, though enough were counted")
            process.swapped_in_pages += int(page.filled > 0)


def _own(page: Page, pager: Pager, offset: int) -> bool:
    if page.references > 1:
        return False
    if page.state is PageState.SEALED or page.filled > offset:
        pager.cut(page, offset)
    return True


def _replace(process: Process, pager: Pager, index: int, offset: int) -> bool:
    shared = process.pages[index]
    if offset:
        copy = pager.private_copy(shared, offset, process.pid, process.principal, process.rank)
    else:
        copy = pager.new_page(process.pid, process.principal, process.rank)
    if copy is None:
        return False
    process.pages[index] = copy
    if process.run is not None:
        process.run.unsent_from = min(process.run.unsent_from, index)
    pager.deactivate(shared)
    pager.release(shared)
    return True


def _drop_pages(process: Process, pager: Pager, keep: int) -> None:
    for page in reversed(process.pages[keep:]):
        pager.release(page)
    del process.pages[keep:]
