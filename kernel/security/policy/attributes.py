"""What a call asks for, read from words such as `class=batch context=4096`; `Attributes.text` writes them."""

from __future__ import annotations

from urllib.parse import unquote

import msgspec

from llmos.kernel.security.policy.conditions import NOTHING, Attributes
from llmos.syscalls.abi.errors import InvalidArgument

_FIELDS = {"class": "priority", "context": "context", "weight": "weight", "model": "model", "role": "role"}


def parse_attributes(text: str) -> Attributes:
    """The attributes that the words name. Raises `InvalidArgument`."""
    if not text:
        return NOTHING
    given: dict[str, str] = {}
    for word in text.split():
        name, equals, value = word.partition("=")
        if name not in _FIELDS or not equals or not value:
            raise InvalidArgument(f"{word[:80]!r} is no attribute", f"name=value, the names: {' '.join(_FIELDS)}")
        given[_FIELDS[name]] = unquote(value)
    try:
        return msgspec.convert(given, Attributes, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"attributes {text[:80]!r}: {error}") from None
