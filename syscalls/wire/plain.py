"""Values that somebody else made, as bytes: whether they are plain MessagePack.

Rule: a value that passes holds nil, booleans, numbers, strings, bytes, arrays and maps of those, no extension types;
its nesting and the number of its arrays and maps are bounded, so that reading it costs whoever gets it little.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import chain
from typing import Final

import msgspec

from llmos.syscalls.abi.errors import InvalidArgument, MessageTooLong

MAX_DEPTH: Final = 32
MAX_CONTAINERS: Final = 50_000

_HINT = "no extension types such as timestamps; keys of maps are scalars; bytes hold what is larger or deeper"
_PLAIN: Final = {type(None), bool, int, float, str, bytes, list, dict}
_CONTAINERS: Final = {list, dict}
_ONLY_SMALL = re.compile(rb"[\x00-\x7f\xa0-\xbf\xc0\xc2\xc3\xe0-\xff][\x00-\x7f]*")
"""A scalar whose bytes hold nothing that could be anything else; most bodies that are text."""

_DECODER = msgspec.msgpack.Decoder()


def check_plain(value: bytes, most: int, what: str) -> bytes:
    """Raise `MessageTooLong` or `InvalidArgument`, which call the value `what`; else give it back.

    It is one value already, as a decoder has cut it out of a frame.
    """
    if len(value) > most:
        raise MessageTooLong(f"{what} has {len(value)} bytes; the limit is {most}", "write a file, and send its path")
    if _ONLY_SMALL.fullmatch(value) is None:
        _check_levels(_decoded(value, what), what)
    return value


def _decoded(value: bytes, what: str) -> object:
    try:
        return _DECODER.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError) as error:
        raise InvalidArgument(f"{what} is no plain MessagePack value: {error}", _HINT) from None


def _check_levels(value: object, what: str) -> None:
    """Level by level, so that most of the work is done by whole lists."""
    level, containers = [value], 0
    for _ in range(MAX_DEPTH + 1):
        kinds = set(map(type, level))
        if foreign := kinds - _PLAIN:
            names = ", ".join(sorted(kind.__name__ for kind in foreign))
            raise InvalidArgument(f"{what} holds what is no plain MessagePack value: {names}", _HINT)
        if not kinds & _CONTAINERS:
            return
        inner = [one for one in level if type(one) in _CONTAINERS and one]
        containers += len(inner)
        if containers > MAX_CONTAINERS:
            raise InvalidArgument(f"{what} has more than {MAX_CONTAINERS} arrays and maps", _HINT)
        level = [*chain.from_iterable(map(_elements, inner))]
    raise InvalidArgument(f"{what} is nested deeper than {MAX_DEPTH} levels", _HINT)


def _elements(one: object) -> Iterable[object]:
    match one:
        case list():
            return one
        case dict():
            return chain(one, one.values())
        case _:
            return ()
