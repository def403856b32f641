"""The two pools of pages that an engine sees, and copies between them.

A page is contiguous over all layers: `[layers, 2 (key, value), page_tokens, kv_heads, head_dim]`. The device
pool is the engine's own, the host pool is shared memory of the kernel. Slots are given by the kernel; these
pools do not know who owns them.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass

import torch
from torch import Tensor

from llmos.drivers.engine.host_memory import map_host_memory
from llmos.kernel.ports.engine import Direction, Move


@dataclass(frozen=True, slots=True)
class Geometry:
    """The shape of a page and of the attention that fills it."""

    layers: int
    page_tokens: int
    query_heads: int
    kv_heads: int
    head_dim: int
    dtype: torch.dtype

    @property
    def page_shape(self) -> tuple[int, int, int, int, int]:
        return (self.layers, 2, self.page_tokens, self.kv_heads, self.head_dim)

    @property
    def page_numbers(self) -> int:
        """How many numbers a page holds."""
        return self.layers * 2 * self.page_tokens * self.kv_heads * self.head_dim

    @property
    def page_bytes(self) -> int:
        return self.page_numbers * self.dtype.itemsize


class PagePools:
    """The device pool and the host pool of one engine.

    Pages start as zeros, and `clear` makes them so again: a reused page must not hold what is no number,
    because attention reads whole pages and masks what lies behind the end.
    """

    def __init__(self, geometry: Geometry, pages: int, host: Tensor, device: torch.device) -> None:
        self.geometry = geometry
        self.device = torch.zeros((pages, *geometry.page_shape), dtype=geometry.dtype, device=device)
        self.host = host

    def clear(self, slot: int) -> None:
        """Zero a device page."""
        self.device[slot].zero_()

    def move(self, move: Move) -> None:
        """Copy one page. Raises `IndexError` for a slot that is not there."""
        source, target = self._sides(move.direction)
        _check_slot(move.source, source)
        _check_slot(move.target, target)
        target[move.target].copy_(source[move.source])

    def _sides(self, direction: Direction) -> tuple[Tensor, Tensor]:
        match direction:
            case Direction.DEVICE_TO_HOST:
                return self.device, self.host
            case Direction.HOST_TO_DEVICE:
                return self.host, self.device
            case Direction.DEVICE_TO_DEVICE:
                return self.device, self.device
            case Direction.HOST_TO_HOST:
                return self.host, self.host


def host_pool(geometry: Geometry, descriptor: int, size: int) -> Tensor:
    """The shared memory behind a descriptor as `[pages, *page_shape]`: as many pages as fit."""
    pages = size // geometry.page_bytes
    if pages == 0:
        return torch.empty((0, *geometry.page_shape), dtype=geometry.dtype)
    memory: mmap.mmap = map_host_memory(descriptor, size)
    numbers = torch.frombuffer(memory, dtype=geometry.dtype, count=pages * geometry.page_numbers)
    return numbers.view(pages, *geometry.page_shape)


def _check_slot(slot: int, pool: Tensor) -> None:
    if not 0 <= slot < pool.shape[0]:
        raise IndexError(f"slot {slot} is not in a pool of {pool.shape[0]} pages")
