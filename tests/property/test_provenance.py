"""Spans always cover the context, and say of each token what a list with one origin a token would say."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from llmos.kernel.core.provenance import MODEL, Span, cut, extend, gaps
from llmos.syscalls.abi.words import Origin, OriginKind

ORIGINS = (MODEL, Origin(OriginKind.USER, "alice"), Origin(OriginKind.MEMORY, "alice", "notes", "1", 2))
changes = st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.sampled_from(ORIGINS)), max_size=30)


@given(changes)
def test_spans_say_what_a_list_of_origins_says(steps: list[tuple[bool, int, Origin]]) -> None:
    spans: list[Span] = []
    origins: list[Origin] = []
    for more, count, origin in steps:
        if more:
            origins += [origin] * count
            extend(spans, len(origins), origin)
        else:
            del origins[max(0, len(origins) - count) :]
            cut(spans, len(origins))
        assert list(gaps(spans, len(origins))) == []
    assert [span.origin for span in spans for _ in range(span.start, span.end)] == origins


def test_what_is_wrong_with_spans_is_found() -> None:
    assert list(gaps([Span(0, 2, MODEL)], 3)) == ["spans end at 2 of 3 tokens"]
    assert list(gaps([Span(1, 3, MODEL)], 3)) == ["a span from 1 to 3 after 0"]
    assert list(gaps([Span(0, 1, MODEL), Span(1, 2, MODEL)], 2)) == ["two spans of one origin meet at 1"]
