"""One step as attention sees it: which rows go to which pages, and who attends over what.

All index tensors are made once per step, or once per step and window, so that a layer costs a handful of
operators. Rows of sequences that get one token come first, in groups of similar length that are padded to a
common number of pages; chunks of more tokens follow one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llmos.drivers.engine.attention import Form, attend, causal_mask
from llmos.drivers.engine.pools import Geometry


@dataclass(frozen=True, slots=True)
class Span:
    """One sequence's new tokens: `count` at positions `start...`, its page table, which covers them."""

    start: int
    count: int
    table: tuple[int, ...]

    @property
    def end(self) -> int:
        return self.start + self.count


@dataclass(frozen=True, slots=True)
class _Reading:
    """Rows of the step that attend together: `batch` sequences, over `pages` of their tables, padded and
    flattened.
    """

    rows: slice
    batch: int
    pages: Tensor
    mask: Tensor | None


@dataclass(frozen=True, slots=True)
class _Fresh:
    """Rows of a chunk that attends over itself alone: nothing came before it, and no window cuts it."""

    rows: slice


@dataclass(frozen=True, slots=True)
class _View:
    """How one window reads the pages."""

    decode: tuple[_Reading, ...]
    prefill: tuple[_Reading | _Fresh, ...]


class Scratch:
    """Memory that gathered pages are put in; kept from step to step, because fresh memory costs more than
    the copy.
    """

    def __init__(self, pool: Tensor, geometry: Geometry) -> None:
        self._geometry = geometry
        self._numbers = pool.new_empty(0)

    def views(self, batch: int, pages: int) -> tuple[Tensor, Tensor]:
        """Room for the keys and the values of `pages` pages for each of `batch` sequences: `[batch * pages,
        page_tokens, kv_heads, head_dim]`.
        """
        geometry = self._geometry
        shape = (2, batch * pages, geometry.page_tokens, geometry.kv_heads, geometry.head_dim)
        size = 2 * batch * pages * geometry.page_tokens * geometry.kv_heads * geometry.head_dim
        if self._numbers.numel() < size:
            self._numbers = self._numbers.new_empty(size)
        keys, values = self._numbers[:size].view(shape).unbind(0)
        return keys, values


class PagedStep:
    """The attention of one forward pass over the device pool `[pages, layers, 2, page_tokens, kv_heads,
    head_dim]`.

    `singles` are groups of spans of one token, `chunks` the longer ones; the rows of the pass are in this
    order.
    """

    def __init__(
        self,
        pool: Tensor,
        geometry: Geometry,
        scratch: Scratch,
        singles: Sequence[Sequence[Span]],
        chunks: Sequence[Span],
    ) -> None:
        self._pool = pool
        self._numbers = pool.view(-1, geometry.kv_heads * geometry.head_dim)
        self._geometry = geometry
        self._scratch = scratch
        self._singles = singles
        self._chunks = chunks
        self._targets = self._write_targets().unbind(0)
        self._views: dict[int | None, _View] = {}

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, form: Form) -> Tensor:
        """Write the new keys and values, then attend; shapes as in `AttentionStep`."""
        geometry = self._geometry
        tokens = query.shape[2]
        new = torch.cat((key, value)).transpose(1, 2).reshape(2 * tokens, -1)
        self._numbers.index_copy_(0, self._targets[layer], new)
        view = self._view(form.window)
        keys, values = self._pool[:, layer, 0], self._pool[:, layer, 1]
        rows = query[0].transpose(0, 1)
        parts = [self._decode(rows, keys, values, reading, form) for reading in view.decode]
        parts += [self._prefill(query, key, value, keys, values, reading, form) for reading in view.prefill]
        out = parts[0] if len(parts) == 1 else torch.cat(parts)
        return out.view(1, tokens, geometry.query_heads, geometry.head_dim)

    def _decode(self, rows: Tensor, keys: Tensor, values: Tensor, reading: _Reading, form: Form) -> Tensor:
        geometry = self._geometry
        query = rows[reading.rows].reshape(reading.batch, geometry.kv_heads, -1, geometry.head_dim)
        key, value = self._gather(keys, values, reading)
        out = attend(query, key, value, reading.mask, False, form)
        return out.reshape(reading.batch, -1)

    def _prefill(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        keys: Tensor,
        values: Tensor,
        reading: _Reading | _Fresh,
        form: Form,
    ) -> Tensor:
        geometry = self._geometry
        rows = query[0, :, reading.rows]
        groups = geometry.query_heads // geometry.kv_heads
        folded = rows.unflatten(0, (geometry.kv_heads, groups)).transpose(0, 1)
        match reading:
            case _Fresh():
                key, value, mask = key[:, :, reading.rows], value[:, :, reading.rows], None
            case _Reading():
                (key, value), mask = self._gather(keys, values, reading), reading.mask
        out = attend(folded, key.expand(groups, -1, -1, -1), value.expand(groups, -1, -1, -1), mask, mask is None, form)
        return out.permute(2, 1, 0, 3).reshape(rows.shape[1], -1)

    def _gather(self, keys: Tensor, values: Tensor, reading: _Reading) -> tuple[Tensor, Tensor]:
        """Keys and values of the pages of a reading as `[batch, kv_heads, tokens, head_dim]`."""
        geometry = self._geometry
        shape = (reading.batch, -1, geometry.kv_heads, geometry.head_dim)
        key, value = self._scratch.views(reading.batch, len(reading.pages) // reading.batch)
        torch.index_select(keys, 0, reading.pages, out=key)
        torch.index_select(values, 0, reading.pages, out=value)
        return key.view(shape).transpose(1, 2), value.view(shape).transpose(1, 2)

    def _write_targets(self) -> Tensor:
        """For every layer, the rows of the pool that get the new keys, then the new values: `[layers, 2 *
        tokens]`.
        """
        geometry = self._geometry
        page = geometry.page_tokens
        spans = [*(span for group in self._singles for span in group), *self._chunks]
        base = [
            span.table[position // page] * geometry.layers * 2 * page + position % page
            for span in spans
            for position in range(span.start, span.end)
        ]
        first = torch.tensor(base)
        both = torch.cat((first, first + page))
        layers = torch.arange(geometry.layers) * 2 * page
        return (layers.unsqueeze(1) + both).to(self._pool.device)

    def _view(self, window: int | None) -> _View:
        view = self._views.get(window)
        if view is None:
            view = self._views[window] = self._make_view(window)
        return view

    def _make_view(self, window: int | None) -> _View:
        rows = _Rows()
        decode = tuple(self._read_together(group, rows.take(len(group)), window) for group in self._singles)
        prefill = tuple(self._read_alone(span, rows.take(span.count), window) for span in self._chunks)
        return _View(decode, prefill)

    def _read_together(self, group: Sequence[Span], rows: slice, window: int | None) -> _Reading:
        """A padded reading: every sequence from its first visible page on, a missing page stood for by its
        own first.
        """
        page = self._geometry.page_tokens
        firsts = [_first_page(span.end - 1, window, page) for span in group]
        tables = [span.table[first : _pages(span.end, page)] for span, first in zip(group, firsts, strict=True)]
        most = max(map(len, tables))
        padded = [slot for table in tables for slot in (*table, *table[:1] * (most - len(table)))]
        device = self._pool.device
        offsets = torch.tensor(firsts, device=device).unsqueeze(1) * page
        last = torch.tensor([span.start for span in group], device=device).unsqueeze(1)
        column = torch.arange(most * page, device=device) + offsets
        hidden = column > last
        if window is not None:
            hidden |= column <= last - window
        mask = self._pool.new_zeros(hidden.shape).masked_fill_(hidden, -torch.inf)
        return _Reading(rows, len(group), torch.tensor(padded, device=device), mask[:, None, None, :])

    def _read_alone(self, span: Span, rows: slice, window: int | None) -> _Reading | _Fresh:
        if span.start == 0 and (window is None or span.end <= window):
            return _Fresh(rows)
        page = self._geometry.page_tokens
        first = _first_page(span.start, window, page)
        pages = torch.tensor(span.table[first : _pages(span.end, page)], device=self._pool.device)
        mask = causal_mask(span.count, span.start, len(pages) * page, window, self._pool, first * page)
        return _Reading(rows, 1, pages, mask)


class _Rows:
    """Hands out consecutive rows."""

    def __init__(self) -> None:
        self._next = 0

    def take(self, count: int) -> slice:
        self._next += count
        return slice(self._next - count, self._next)


def similar(spans: Sequence[Span], page_tokens: int, waste: int) -> Iterator[list[int]]:
    """Groups of indices of spans, longest first, that padding to a common length costs at most `waste`
    tokens each.
    """
    pages = [_pages(span.end, page_tokens) for span in spans]
    group: list[int] = []
    wasted = 0
    for index in sorted(range(len(spans)), key=lambda index: -pages[index]):
        missing = (pages[group[0]] - pages[index]) * page_tokens if group else 0
        if wasted + missing > waste:
            yield group
            group, wasted, missing = [], 0, 0
        group.append(index)
        wasted += missing
    if group:
        yield group


def _pages(tokens: int, page_tokens: int) -> int:
    return -(-tokens // page_tokens)


def _first_page(position: int, window: int | None, page_tokens: int) -> int:
    """The first page that a query at `position` can see."""
    return 0 if window is None else max(0, position - window + 1) // page_tokens
