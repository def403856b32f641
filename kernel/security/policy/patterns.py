"""Patterns of names in rules: `*` is any part of one segment, `**` any part at all, `$self` and `$tenant` are the
caller's own name and tenant.

It knows strings only. Rule: what the caller's own words stand for is never read as a pattern, because names of
principals and tenants hold no wildcards.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

SELF: Final = "$self"
OWN_TENANT: Final = "$tenant"

_WILDCARD = re.compile(r"\*\*|\*")
_SUBJECT = "principal:"


def matches(name: str, pattern: str, subject: str, home: str) -> bool:
    """Whether a name fits a pattern, for the caller `subject` (`principal:NAME`) of the tenant `home`."""
    if "$" in pattern:
        pattern = own_words(pattern, subject.removeprefix(_SUBJECT), home)
    return _compiled(pattern).fullmatch(name) is not None


def own_words(pattern: str, name: str, tenant: str) -> str:
    """The pattern with the caller's name and tenant in it."""
    return pattern.replace(SELF, name).replace(OWN_TENANT, tenant)


def is_literal(text: str) -> bool:
    """Whether it fits nothing but itself."""
    return "*" not in text and "$" not in text


def covers(wide: str, narrow: str) -> bool:
    """Whether every name that fits `narrow` surely fits `wide`; False when that cannot be told.

    A wildcard of the narrow one is tried as a character that no name has, within a segment or across; the caller's own
    words are further such characters, because only a wildcard or the same word surely fits them.
    """
    wide, narrow = own_words(wide, "\2", "\3"), own_words(narrow, "\2", "\3")
    if wide in (narrow, "**"):
        return True
    fillings = ("", "\1", "\1/\1", "\1/\1/\1") if "**" in narrow else ("",)
    probes = {narrow.replace("**", filling).replace("*", part) for filling in fillings for part in ("", "\1")}
    return all(_compiled(wide).fullmatch(probe) is not None for probe in probes)


@lru_cache(maxsize=8192)
def _compiled(pattern: str) -> re.Pattern[str]:
    pieces = _WILDCARD.split(pattern)
    signs = [".*" if sign == "**" else "[^/]*" for sign in _WILDCARD.findall(pattern)]
    expression = "".join(re.escape(piece) + sign for piece, sign in zip(pieces, [*signs, ""], strict=True))
    return re.compile(expression, re.DOTALL)
