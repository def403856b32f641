"""What the SDK gathers before it sends: nothing is lost, nothing changes its place, no piece is too large."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmos.syscalls.sdk.files_requests import PIECE, Gathered


@given(st.lists(st.integers(0, 2 * PIECE + 3) | st.integers(0, 10), max_size=8))
def test_pieces_are_what_was_written(sizes: list[int]) -> None:
    gathered, sent, written = Gathered(), list[bytes](), bytearray()
    for number, size in enumerate(sizes):
        data = bytes([number]) * size
        written += data
        sent += gathered.add(data)
    assert all(len(piece) == PIECE for piece in sent)
    sent += gathered.rest()
    assert b"".join(sent) == written
    assert list(gathered.rest()) == []
