"""What an owner has in memory, and the limits on that.

Every version counts its text, its metadata and `OVERHEAD` for what is kept beside them. Rule: a write that would pass
a limit changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import apsw

from llmos.drivers.store.memory.fetching import Row, fetch
from llmos.syscalls.abi.errors import LimitExceeded

OVERHEAD = 1024
"""Bytes that a version counts beside its text: its rows, its words and its vector."""


@dataclass(frozen=True, slots=True)
class Quotas:
    """Of each owner: how many items, and how many bytes their versions may have."""

    items: int = 1_000_000
    bytes: int = 4 << 30


DEFAULT_QUOTAS = Quotas()


@dataclass(frozen=True, slots=True)
class Charge:
    """By how much an owner's account changes."""

    items: int = 0
    versions: int = 0
    bytes: int = 0


class _Account(Row, frozen=True):
    items: int
    bytes: int


def weight(text: str, metadata: str) -> int:
    """The bytes that a version counts."""
    return len(text.encode()) + len(metadata.encode()) + OVERHEAD


def charge(connection: apsw.Connection, owner: str, change: Charge, quotas: Quotas) -> None:
    """Change the account. Raises `LimitExceeded` when more is asked for than there may be."""
    connection.execute("insert or ignore into owners(name) values(?)", (owner,))
    (account,) = fetch(
        connection,
        _Account,
        "update owners set items = items + ?, versions = versions + ?, bytes = bytes + ? where name = ? "
        "returning items, bytes",
        (change.items, change.versions, change.bytes, owner),
    )
    items, size = account.items, account.bytes
    if change.items > 0 and items > quotas.items:
        raise LimitExceeded(
            f"{owner} has {items - change.items} items in memory; the limit memory.items_per_owner is {quotas.items}",
            "forget some, let them expire, or ask an administrator for a higher limit",
        )
    if change.bytes > 0 and size > quotas.bytes:
        raise LimitExceeded(
            f"{owner} has {size - change.bytes} bytes in memory and {change.bytes} more do not fit; the limit "
            f"memory.bytes_per_owner is {quotas.bytes}",
            "forget some (older versions count too), let them expire, or ask an administrator for a higher limit",
        )
