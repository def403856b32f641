"""What rules can be about: the actions that there are, the kinds of objects of each, and what each call asks for.

Made from the table of calls; it knows no rules.
"""

from __future__ import annotations

from llmos.syscalls.abi.table import CALLS, Subject

SHARE = "ctx.share"
"""Asked about when a process is made: with whom it shares prefixes."""

_PATTERNS: dict[Subject, str] = {
    Subject.PROCESS: "proc:/\1/\1",
    Subject.OWN: "proc:/\1/\1",
    Subject.SYSTEM: "sys:/",
    Subject.SELF: "key:/\1/\1",
    Subject.KEY: "key:/\1/\1",
    Subject.KEYS: "key:/\1/\1",
    Subject.SERVER_KEY: "key:/\1/\1",
    Subject.POLICY: "policy:/",
    Subject.AUDIT: "audit:/\1",
}

ACTIONS: dict[str, str] = {call.name: _PATTERNS[call.subject] for call in CALLS} | {SHARE: "share:/\1"}
"""Each action, with what its objects look like; a part that may be any name is the sign 1."""

KINDS = frozenset(pattern.partition(":/")[0] for pattern in ACTIONS.values())
"""Kinds of objects."""

CARRIED: dict[str, frozenset[str]] = {
    "proc.spawn": frozenset({"class", "context", "weight", "model"}),
    "proc.renice": frozenset({"class", "weight"}),
    "proc.limits": frozenset({"context"}),
    "sec.key_create": frozenset({"role"}),
}
"""What calls ask for, as far as conditions can bound it."""

ALWAYS = frozenset({"kind", "time", "day"})
"""What a condition can ask about every call."""
