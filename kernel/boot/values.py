"""Kinds of values in the settings: how each is read from TOML, and what it allows, in words.

Rules: a kind takes exactly what it says; a number is no text and `true` is no number.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

_SIZE = re.compile(r"(\d+)\s*(|[KMGT]i?B|B)", re.IGNORECASE)
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40}

Value = str | int | float | tuple[str, ...]


class BadValueError(Exception):
    """The value is none of its kind."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Reads one value; `allowed` says which ones there are."""

    read: Callable[[object], Value]
    allowed: str


def choice(*words: str) -> Kind:
    """One of some words."""

    def read(value: object) -> Value:
        if isinstance(value, str) and value in words:
            return value
        raise BadValueError

    return Kind(read, "one of " + ", ".join(words))


def integer(least: int, most: int) -> Kind:
    """A whole number."""

    def read(value: object) -> Value:
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        raise BadValueError

    return Kind(read, f"a whole number from {least} to {most}")


def number(least: float, most: float) -> Kind:
    """A number, whole or not."""

    def read(value: object) -> Value:
        if isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most:
            return float(value)
        raise BadValueError

    return Kind(read, f"a number from {least:g} to {most:g}")


def page_length() -> Kind:
    """How many tokens a page may have."""

    def read(value: object) -> Value:
        if isinstance(value, int) and not isinstance(value, bool) and value in (8, 16, 32, 64, 128, 256):
            return value
        raise BadValueError

    return Kind(read, "one of 8, 16, 32, 64, 128, 256")


def seconds() -> Kind:
    """A length of time above zero."""

    def read(value: object) -> Value:
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 86_400:
            return float(value)
        raise BadValueError

    return Kind(read, "seconds above 0, 86400 at most")


def size() -> Kind:
    """A number of bytes, with or without a unit."""

    def read(value: object) -> Value:
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
        match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
        if match is None or int(match[1]) == 0:
            raise BadValueError
        return int(match[1]) * _UNITS[match[2].upper()]

    return Kind(read, 'a size such as "512MiB" or "2GiB", or a number of bytes')


def text(allowed: str, empty: bool = False) -> Kind:
    """A string, which may be empty if that means something."""

    def read(value: object) -> Value:
        if isinstance(value, str) and (value or empty) and "\0" not in value:
            return value
        raise BadValueError

    return Kind(read, allowed)


def texts(allowed: str) -> Kind:
    """A list of strings."""

    def read(value: object) -> Value:
        if isinstance(value, list) and all(isinstance(item, str) and item for item in value):
            return tuple(value)
        raise BadValueError

    return Kind(read, allowed)
