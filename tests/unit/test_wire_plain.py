"""Which values may be bodies: plain ones of bounded size, depth and number of parts."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from msgspec import msgpack as codec

from llmos.syscalls.abi.errors import InvalidArgument, MessageTooLong
from llmos.syscalls.wire.plain import MAX_CONTAINERS, MAX_DEPTH, check_plain
from tests.property.message_strategies import plain


def nested(depth: int) -> object:
    """A list in a list, so many times."""
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


@given(plain)
def test_every_plain_value_passes_as_it_is(value: object) -> None:
    data = codec.encode(value)
    assert check_plain(data, 1 << 20, "the body") == data


@pytest.mark.parametrize(
    "value",
    [None, 2**64 - 1, -(2**63), 1.5, "é" * 100, b"\xc7\xd4", {1: {b"x": [None]}}, nested(MAX_DEPTH), [[]] * 9],
    ids=lambda value: str(value)[:20],
)
def test_what_is_unusual_and_plain_passes(value: object) -> None:
    check_plain(codec.encode(value), 1 << 20, "the body")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (msgpack.packb(msgpack.ExtType(5, b"abc")), "Ext"),
        (msgpack.packb([1, msgpack.Timestamp(1)]), "datetime"),
        (codec.encode(nested(MAX_DEPTH + 1)), "deeper than 32"),
        (codec.encode(nested(900)), "deeper than 32"),
        (codec.encode([[1]] * MAX_CONTAINERS), "arrays and maps"),
        (b"\x81\x91\x01\x01", "tuple"),
        (b"\xa2\xff\xff", "utf-8"),
    ],
)
def test_what_is_not_plain_is_refused_in_words(data: bytes, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        check_plain(data, 1 << 20, "the body")


def test_what_is_too_long_is_told_the_limit() -> None:
    with pytest.raises(MessageTooLong, match="the body has 11 bytes; the limit is 10"):
        check_plain(b"\xaa" + b"x" * 10, 10, "the body")
