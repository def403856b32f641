"""Pages and slots: the things that the pager moves.

A page is the KV of `page_tokens` tokens over all layers. It is logical: it may have a copy in a device slot, in a host
slot, in both, or (when nothing was computed into it yet) in neither. It does not know whose it is beyond a count.

Rules: a TAIL page is written only by its sole reference; a SEALED page is full and never written. `host_tokens` is
how many
of its leading tokens the host copy has; it is 0 while a copy to host is under way, so that a torn one is never used.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum

from llmos.syscalls.abi.words import Pid


class PageState(Enum):
    """FREE is the end: no reference, no copy."""

    FREE = "free"
    TAIL = "tail"
    SEALED = "sealed"


Shelf = OrderedDict["Page", None]


@dataclass(slots=True, eq=False)
class Page:
    """One page. Written by the pager only."""

    owner: Pid
    """The process that made it or used it last; moves are accounted to it."""
    account: str = ""
    """The principal that it is charged to while anybody refers to it: whose process made it."""
    state: PageState = PageState.TAIL
    references: int = 1
    active: int = 0
    """How many running processes need it on the device."""
    pins: int = 0
    """Moves under way and writes of plans in flight; a pinned page is neither evicted nor freed."""
    filled: int = 0
    """Leading tokens whose KV is confirmed."""
    rank: int = 0
    """Importance of its last user; pages of the least important leave the device first."""
    device: int | None = None
    host: int | None = None
    host_tokens: int = 0
    leaving: bool = False
    """A copy to host is under way."""
    version: int = 0
    """Grows when tokens are taken back, so that a copy made before is not taken for a copy of what came after."""
    content: bytes | None = None
    """Content id under which it is shared; only of SEALED pages."""
    tokens: tuple[int, ...] = ()
    shelf: Shelf | None = None
    mirror: Shelf | None = None

    @property
    def clean(self) -> bool:
        """Losing the device copy loses nothing that anybody refers to."""
        return self.references == 0 or self.host_tokens >= self.filled


class SlotPool:
    """Free slots of one tier; the lowest is given first, so that a trace replays the same."""

    __slots__ = ("_free", "total")

    def __init__(self, total: int) -> None:
        self.total = total
        self._free = list(range(total - 1, -1, -1))

    @property
    def free(self) -> int:
        """How many slots are free."""
        return len(self._free)

    def take(self) -> int | None:
        """A free slot, or None."""
        return self._free.pop() if self._free else None

    def give(self, slot: int) -> None:
        """Take back a slot."""
        self._free.append(slot)

    def free_slots(self) -> frozenset[int]:
        """The free slots, for the invariants."""
        return frozenset(self._free)
