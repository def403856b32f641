"""Incremental detokenization: for any tokens and any stop strings, the pieces are the whole."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from llmos.drivers.text.stream import Detokenizer, ModelTextStream, StopFilter, shows_each_byte
from tests.text.small_models import byte_fallback_tokenizer, byte_level_tokenizer

ALPHABET = st.sampled_from("abcdeh <|_>éß€日本😀👩\u200d🚀\n\ufffd")
TEXTS = st.text(ALPHABET, max_size=40)
STOPS = st.lists(st.text(ALPHABET, min_size=1, max_size=6), max_size=4)
SMALL_STOPS = st.lists(st.text(st.sampled_from("ab"), min_size=1, max_size=5), max_size=4)


@cache
def byte_level() -> Tokenizer:
    """One tokenizer for all examples."""
    return byte_level_tokenizer()


@cache
def byte_fallback() -> Tokenizer:
    """One tokenizer for all examples."""
    return byte_fallback_tokenizer()


def special_of(tokenizer: Tokenizer) -> frozenset[int]:
    """The ids of special tokens."""
    return frozenset(number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special)


def stream_of(tokenizer: Tokenizer, stop: Sequence[str]) -> ModelTextStream:
    """A stream as the codec makes it."""
    return ModelTextStream(Detokenizer(tokenizer, special_of(tokenizer), shows_each_byte(tokenizer)), stop)


def run(tokenizer: Tokenizer, tokens: Sequence[int], stop: Sequence[str]) -> tuple[list[str], bool]:
    """All pieces of a stream, and whether it stopped."""
    stream = stream_of(tokenizer, stop)
    pieces = []
    for token in tokens:
        piece = stream.push(token)
        pieces.append(piece.text)
        if piece.stopped:
            return pieces, True
    return [*pieces, stream.flush()], False


def cut(text: str, stop: Sequence[str]) -> str:
    """What a stream must show of a text, by definition: up to the stop string that is completed first."""
    for end in range(len(text) + 1):
        found = [text[:end].rindex(word) for word in stop if text[:end].endswith(word)]
        if found:
            return text[: min(found)]
    return text


@given(st.lists(st.integers(0, 329), max_size=80))
def test_any_tokens_in_pieces_decode_as_a_whole(tokens: list[int]) -> None:
    pieces, _ = run(byte_level(), tokens, ())
    assert "".join(pieces) == byte_level().decode(tokens, skip_special_tokens=True)


@settings(max_examples=50)
@given(st.integers(0, 255), st.integers(33, 200), st.lists(st.integers(3, 258), max_size=5))
def test_a_long_run_of_undecodable_bytes_decodes_as_a_whole(byte: int, length: int, rest: list[int]) -> None:
    tokens = [3 + byte] * length + rest
    pieces, _ = run(byte_level(), tokens, ())
    assert "".join(pieces) == byte_level().decode(tokens)


@given(TEXTS, STOPS)
def test_a_stream_shows_the_text_before_the_first_completed_stop_string(text: str, stop: list[str]) -> None:
    tokens = byte_level().encode(text).ids
    pieces, _ = run(byte_level(), tokens, stop)
    assert "".join(pieces) == cut(text, stop)


@given(st.lists(st.integers(0, 329), max_size=40), STOPS)
def test_stop_strings_do_not_depend_on_where_tokens_end(tokens: list[int], stop: list[str]) -> None:
    whole = byte_level().decode(tokens, skip_special_tokens=True)
    pieces, _ = run(byte_level(), tokens, stop)
    assert "".join(pieces) == cut(whole, stop)


@given(st.lists(st.text(st.sampled_from("ab"), max_size=4), max_size=12), SMALL_STOPS)
def test_a_stop_filter_gives_the_same_for_every_cut_of_the_text(parts: list[str], stop: list[str]) -> None:
    stop_filter = StopFilter(stop)
    shown = ""
    for part in parts:
        piece = stop_filter.push(part)
        shown += piece.text
        if piece.stopped:
            break
    else:
        shown += stop_filter.flush()
    assert shown == cut("".join(parts), stop)


@given(TEXTS)
def test_half_a_character_is_never_shown(text: str) -> None:
    clean = text.replace("\ufffd", "")
    pieces, _ = run(byte_level(), byte_level().encode(clean).ids, ())
    assert "\ufffd" not in "".join(pieces)


@given(TEXTS)
def test_text_with_byte_tokens_and_joined_words_decodes_as_a_whole(text: str) -> None:
    tokenizer = byte_fallback()
    tokens = tokenizer.encode(text, add_special_tokens=True).ids
    pieces, _ = run(tokenizer, tokens, ())
    assert "".join(pieces) == tokenizer.decode(tokens, skip_special_tokens=True)


@given(st.lists(st.integers(0, 290), max_size=40), STOPS)
def test_any_tokens_with_byte_tokens_can_be_streamed(tokens: list[int], stop: list[str]) -> None:
    run(byte_fallback(), tokens, stop)


def test_a_character_is_shown_with_its_last_byte() -> None:
    tokens = byte_level().encode("😀").ids
    stream = stream_of(byte_level(), ())
    assert [stream.push(token).text for token in tokens] == [""] * (len(tokens) - 1) + ["😀"]


def test_half_a_character_at_the_end_is_flushed_as_a_replacement() -> None:
    stream = stream_of(byte_level(), ())
    assert stream.push(byte_level().encode("€").ids[0]).text == ""
    assert stream.flush() == "\ufffd"


def test_the_start_of_a_stop_string_is_held_back_until_it_is_none() -> None:
    stop_filter = StopFilter(["STOP"])
    assert stop_filter.push("a ST").text == "a "
    assert stop_filter.push("x").text == "STx"
    assert stop_filter.push("STO").text == ""
    assert stop_filter.flush() == "STO"
