"""Where the tokens of a context come from: spans, in order, that cover it without a gap.

It does not know processes. Rules: a span begins where the one before it ends; two that touch have different origins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from llmos.syscalls.abi.words import Origin, OriginKind

MODEL: Final = Origin(OriginKind.MODEL)
"""What the model wrote itself."""


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens from `start` up to `end`."""

    start: int
    end: int
    origin: Origin


def extend(spans: list[Span], length: int, origin: Origin) -> None:
    """The context has `length` tokens now, and the new ones come from there."""
    start = spans[-1].end if spans else 0
    if length == start:
        return
    if spans and spans[-1].origin == origin:
        start = spans.pop().start
    spans.append(Span(start, length, origin))


def cut(spans: list[Span], length: int) -> None:
    """Only the first `length` tokens are left."""
    while spans and spans[-1].start >= length:
        spans.pop()
    if spans and spans[-1].end > length:
        last = spans.pop()
        spans.append(Span(last.start, length, last.origin))


def gaps(spans: list[Span], length: int) -> Iterator[str]:
    """What is wrong with the spans of a context of `length` tokens."""
    place = 0
    for before, span in zip([None, *spans], spans, strict=False):
        if span.start != place or span.end <= span.start:
            yield f"a span from {span.start} to {span.end} after {place}"
        if before is not None and before.origin == span.origin:
            yield f"two spans of one origin meet at {span.start}"
        place = span.end
    if place != length:
        yield f"spans end at {place} of {length} tokens"
