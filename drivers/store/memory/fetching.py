"""Rows of a query as typed records."""

from __future__ import annotations

from typing import TypeVar

import apsw
import msgspec

from llmos.drivers.store.memory.filters import Binding


class Row(msgspec.Struct, frozen=True, array_like=True):
    """Base of what a query gives: its fields are the columns, in order."""


Kind = TypeVar("Kind", bound=Row)


def fetch(connection: apsw.Connection, kind: type[Kind], sql: str, bindings: tuple[Binding, ...] = ()) -> list[Kind]:
    """All rows of a query."""
    return msgspec.convert(connection.execute(sql, bindings).fetchall(), list[kind])  # type: ignore[valid-type] # the type given


def numbers(connection: apsw.Connection, sql: str, bindings: tuple[Binding, ...] = ()) -> list[int]:
    """The one column of a query of whole numbers."""
    return [int(row[0]) for row in connection.execute(sql, bindings) if row[0] is not None]
