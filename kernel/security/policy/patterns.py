"""Patterns of names in rules: `*` is any part of one segment, `**` any part at all, `$self` and `$tenant` are the
caller's own name and tenant.

It knows strings only. Rules: what the caller's own words stand for is never read as a pattern, because names of
principals and tenants hold no wildcards; no pattern takes longer than its length times the square of the name's.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

SELF: Final = "$self"
OWN_TENANT: Final = "$tenant"

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
    first, *others = pattern.split("**")
    if not others:
        return re.compile(_last(first), re.DOTALL)
    middle = "".join(f"(?>.*?{_inner(chunk)})" for chunk in others[:-1])
    return re.compile(f"{_inner(first)}{middle}.*{_last(others[-1])}", re.DOTALL)


def _inner(chunk: str) -> str:
    """What stands before a `**`: where it ends first is right for all that follows, so no other place is tried.

    Without that, which the atomic groups say, a pattern of a few wildcards takes a longer time than there is.
    """
    first, *others = (re.escape(piece) for piece in chunk.split("*"))
    return first + "".join(f"(?>[^/]*?{piece})" for piece in others)


def _last(chunk: str) -> str:
    """What stands behind the last `**`: it must end with the name."""
    before, sign, behind = chunk.rpartition("*")
    return f"{_inner(before)}[^/]*{re.escape(behind)}" if sign else re.escape(chunk)
