"""What the SDK makes of the encoder's replies, and what it refuses before anything is sent."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.syscalls.abi.encoders import Classification, Classified, Embedded
from llmos.syscalls.abi.errors import InvalidArgument
from llmos.syscalls.sdk import requests
from llmos.syscalls.sdk.vectors import Classifications, Vectors

numbers = st.floats(-1, 1, width=32)


@given(st.integers(1, 8).flatmap(lambda size: st.lists(st.lists(numbers, min_size=size, max_size=size), min_size=1)))
def test_vectors_are_lists_of_numbers_one_for_each_text(rows: list[list[float]]) -> None:
    packed = b"".join(struct.pack(f"<{len(row)}f", *row) for row in rows)
    vectors = Vectors(Embedded("model", "print", len(rows[0]), packed, 7, (0,)))
    assert vectors == rows
    assert (vectors.model, vectors.fingerprint, vectors.tokens, vectors.truncated) == ("model", "print", 7, (0,))


def test_classifications_are_a_list_that_knows_what_it_cost() -> None:
    one = Classification("a", (0.75, 0.25))
    found = Classifications(Classified("model", (one,), 5))
    assert found == [one]
    assert (found.tokens, found.truncated) == (5, ())


@pytest.mark.parametrize("texts", ["one text", [], ["x"] * 1025, [3]])
def test_texts_that_cannot_be_never_leave_the_client(texts: Sequence[str]) -> None:
    with pytest.raises(InvalidArgument):
        requests.embed(texts, None, "normal")
    with pytest.raises(InvalidArgument):
        requests.classify(texts, ["a", "b"], None, None, "normal")


@pytest.mark.parametrize("labels", [[], ["one"], ["x"] * 65, ["a", ""]])
def test_labels_that_cannot_be_never_leave_the_client(labels: Sequence[str]) -> None:
    with pytest.raises(InvalidArgument):
        requests.classify(["text"], labels, None, None, "normal")
