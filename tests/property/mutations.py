"""Hypothesis strategies for things that are almost right: valid bytes and texts, damaged in one place or a few.

They do not know what the bytes or texts mean.
"""

from __future__ import annotations

from hypothesis import strategies as st


@st.composite
def damaged(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Bytes, some of them changed, cut off, repeated, or followed by the end of others."""
    data = draw(whole)
    for _ in range(draw(st.integers(1, 3))):
        data = draw(st.sampled_from((_changed, _cut, _repeated)))(draw, data)
        if draw(st.integers(0, 4)) == 0:
            data = _cut(draw, data) + _cut_front(draw, draw(whole))
    return data


def damaged_text(whole: st.SearchStrategy[str], signs: str) -> st.SearchStrategy[str]:
    """A text with words or lines moved, dropped, repeated or replaced; `signs` is what separates its words."""
    return _pieces_moved(_pieces_moved(whole, signs), "\n")


@st.composite
def _pieces_moved(draw: st.DrawFn, whole: st.SearchStrategy[str], sign: str) -> str:
    pieces = draw(whole).split(sign)
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(pieces)))
        end = start + draw(st.integers(0, 2))
        inserted = draw(st.lists(st.sampled_from([*pieces, ""]) | st.text(max_size=12), max_size=2))
        pieces[start:end] = inserted
        pieces = pieces or [""]
    return sign.join(pieces)


def _changed(draw: st.DrawFn, data: bytes) -> bytes:
    changed = bytearray(data)
    for place in draw(st.lists(st.integers(0, max(0, len(data) - 1)), max_size=3)):
        changed[place : place + 1] = draw(st.binary(min_size=1, max_size=1))
    return bytes(changed)


def _cut(draw: st.DrawFn, data: bytes) -> bytes:
    return data[: draw(st.integers(0, len(data)))]


def _cut_front(draw: st.DrawFn, data: bytes) -> bytes:
    return data[draw(st.integers(0, len(data))) :]


def _repeated(draw: st.DrawFn, data: bytes) -> bytes:
    start = draw(st.integers(0, len(data)))
    return data[:start] + data[start : draw(st.integers(start, len(data)))] * draw(st.integers(1, 4)) + data[start:]
