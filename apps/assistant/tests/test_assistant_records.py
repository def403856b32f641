"""Transcripts as bytes and as places where a session stands: any end torn off, any chunks, any arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llmos
from llmos.apps.assistant.pieces import Pieces, joined
from llmos.apps.assistant.records import (
    Added,
    Again,
    Asked,
    Dropped,
    Ended,
    How,
    Lives,
    Opened,
    Part,
    Record,
    Said,
    Undone,
    decode,
    encode,
)
from llmos.apps.assistant.transcript import BadTranscript, compacted, replay

TOKENS = st.lists(st.integers(0, 60_000), max_size=4).map(tuple)
ORIGINS = st.sampled_from(
    [
        None,
        llmos.Origin(llmos.OriginKind.TOOL, name="files"),
        llmos.Origin(llmos.OriginKind.MEMORY, name="default", id="a1", version=2),
    ]
)
PARTS = st.lists(st.builds(Part, TOKENS, ORIGINS), max_size=3).map(tuple)
TEXT = st.text(max_size=6)


@st.composite
def exchanges(draw: st.DrawFn, finished: bool = True) -> list[Record]:
    """The records of one exchange; one that is not finished ends anywhere."""
    said = draw(st.lists(st.builds(Said, TOKENS, TEXT), max_size=3))
    again = draw(st.lists(st.builds(Again, st.integers(0, 9)), max_size=1))
    whole: list[Record] = [
        Asked(draw(TEXT), draw(st.sampled_from(How)), draw(st.integers(1, 99)), draw(st.integers(1, 9))),
        Added(draw(PARTS)),
        *said,
        *again,
        *draw(st.lists(st.builds(Said, TOKENS, TEXT), max_size=2)),
        Ended(draw(TOKENS), draw(TEXT)),
    ]
    return whole if finished else whole[: draw(st.integers(1, len(whole) - 1))]


@st.composite
def sessions(draw: st.DrawFn) -> list[Record]:
    """The records of a session that a program could have written."""
    records: list[Record] = [Opened("model", draw(TEXT), draw(TOKENS))]
    for _ in range(draw(st.integers(0, 3))):
        records += draw(exchanges())
        records += draw(st.lists(st.one_of(st.builds(Lives, st.integers(2, 9)), st.just(Undone())), max_size=2))
        records += draw(st.lists(st.builds(Dropped, st.integers(0, 2)), max_size=1))
    return records + (draw(exchanges(finished=False)) if draw(st.booleans()) else [])


@given(sessions(), st.data())
def test_what_a_torn_end_leaves_is_the_beginning_and_goes_on_with_what_is_written_then(
    records: list[Record], data: st.DataObject
) -> None:
    whole = encode(records)
    torn = whole[: data.draw(st.integers(0, len(whole)))]
    found = decode(torn)
    count = len(found.records)
    assert list(found.records) == records[:count]
    assert torn[: found.length] == encode(records[:count])
    assert len(encode(records[: count + 1])) > len(torn) or count == len(records)
    assert list(decode(torn[: found.length] + encode(records[count:])).records) == records


@given(sessions(), st.data())
def test_a_byte_that_was_damaged_ends_the_transcript_before_it(records: list[Record], data: st.DataObject) -> None:
    whole = bytearray(encode(records))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    found = decode(bytes(whole))
    assert list(found.records) == records[: len(found.records)]
    assert found.length <= place


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_decoder(data: bytes) -> None:
    found = decode(data)
    assert found.length <= len(data)
    assert encode(found.records) == data[: found.length] or found.records


@settings(deadline=None)
@given(sessions())
def test_a_compacted_transcript_stands_where_the_long_one_stood(records: list[Record]) -> None:
    before = replay(records)
    assert before is not None
    after = replay(list(compacted(before)))
    assert after is not None
    assert after.tokens == before.tokens
    assert after.pid == before.pid
    assert [(one.asked, one.added, one.text, one.ended is None) for one in after.exchanges] == [
        (one.asked, one.added, one.text, one.ended is None) for one in before.exchanges
    ]
    if before.pending is not None:
        assert after.pending is not None
        assert after.pending.shown >= before.pending.shown


@pytest.mark.parametrize(
    "records",
    [
        [Asked("before it begins")],
        [Opened("m", "", ()), Opened("m", "", ())],
        [Opened("m", "", ()), Said((1,), "to nothing")],
        [Opened("m", "", ()), Asked("a"), Asked("b")],
        [Opened("m", "", ()), Asked("a"), Said((1,), "too early")],
        [Opened("m", "", ()), Asked("a"), Added(()), Added(())],
        [Opened("m", "", ()), Asked("a"), Added(()), Ended((), ""), Ended((), "")],
    ],
)
def test_records_of_no_session_are_refused(records: Sequence[Record]) -> None:
    with pytest.raises(BadTranscript):
        replay(records)


@given(st.lists(st.tuples(st.text(max_size=3), st.integers(1, 3)), max_size=12))
def test_pieces_are_the_whole_answer_and_end_where_a_token_came_alone_with_text(
    chunks: list[tuple[str, int]],
) -> None:
    pieces, given_ = Pieces(), list[Said]()
    for number, (text, count) in enumerate(chunks):
        piece = pieces.push(llmos.Chunk(text, (number,) * count))
        given_ += [piece] if piece is not None else []
    usage = llmos.Usage(0, 0, 0, 0.0, 0.0)
    tokens = tuple(number for number, (_, count) in enumerate(chunks) for _ in range(count))
    text = "".join(text for text, _ in chunks) + "!"
    end = pieces.finish(llmos.Generated(text, tokens, llmos.FinishReason.STOP, usage))
    assert "".join(piece.text for piece in given_) + end.text == text
    assert (*(token for piece in given_ for token in piece.tokens), *end.tokens) == tokens
    for piece in given_:
        last = piece.tokens[-1]
        assert chunks[last][1] == 1
        assert chunks[last][0]


def test_a_space_that_a_decoder_strips_is_put_back() -> None:
    assert joined("went on", " went on and on") == " went on"
    assert joined(" went", " went on") == " went"
    assert joined("went", "went on") == "went"
    assert joined("", " x") == ""
