"""Filters as conditions of SQL: which of the latest versions fit, by their metadata and by the time.

Rules: names and values are bindings, never part of the statement; only the seven comparisons are. Numbers compare with
numbers, texts with texts (by code points), and what is true or false only equals itself; a value of another kind does
not fit, except that it differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

import apsw
import msgspec

from llmos.syscalls.abi.errors import InvalidArgument
from llmos.syscalls.abi.memory import Comparison, Filter, Scalar

_TRUTH, _NUMBER, _TEXT = "truth", "number", "text"
_OPERATORS = {Comparison.LESS: "<", Comparison.AT_MOST: "<=", Comparison.MORE: ">", Comparison.AT_LEAST: ">="}

FEW = 2_000
"""Revisions that are looked at one by one."""

Binding = int | float | str | None


@dataclass(frozen=True, slots=True)
class Condition:
    """On rows `i` of `items`: a term of SQL, and the values of its question marks.

    `narrow` says that it names few rows, from which SQLite should start.
    """

    sql: str
    bindings: tuple[Binding, ...]
    narrow: bool = False


def check_filters(filters: tuple[Filter, ...]) -> None:
    """Raise `InvalidArgument` for a filter that can mean nothing."""
    for one in filters:
        if one.comparison is not Comparison.AMONG and len(one.values) != 1:
            raise InvalidArgument(
                f"the filter on {one.key!r} compares by {one.comparison.value} with {len(one.values)} values",
                "one value; `in` takes several",
            )
        if one.comparison in _OPERATORS and isinstance(one.values[0], bool):
            raise InvalidArgument(f"the filter on {one.key!r} asks what is more than true or false", "= or !=")


def condition_of(connection: apsw.Connection, space: int, filters: tuple[Filter, ...], now: float) -> Condition:
    """Of this namespace, not expired, and fitting all the filters."""
    parts = [_alive(space, now), *(_fitting(one) for one in filters)]
    if (few := few_that_may_fit(connection, space, filters)) is not None:
        parts.append(among(few))
    return _both(*parts)


def in_space(space: int, condition: Condition) -> Condition:
    """The same, for a statement that starts from nothing: SQLite takes the rows of the namespace, or the few."""
    return condition if condition.narrow else _both(Condition("i.space = ?", (space,)), condition)


def few_that_may_fit(connection: apsw.Connection, space: int, filters: tuple[Filter, ...]) -> list[int] | None:
    """The latest revisions that fit one of the filters, if one of them lets only few through."""
    fewest: list[int] | None = None
    for one in filters:
        if one.comparison is Comparison.DIFFERENT:
            continue
        fact = _fact(one)
        rows = connection.execute(
            f"select revision from facts f where f.space = ? and {fact.sql} limit {FEW + 1}", (space, *fact.bindings)
        )
        revisions = [int(row[0]) for row in rows if row[0] is not None]
        if len(revisions) <= FEW and (fewest is None or len(revisions) < len(fewest)):
            fewest = revisions
    return fewest


def among(revisions: list[int]) -> Condition:
    """Being one of these."""
    return Condition(
        "i.latest in (select value from json_each(?))", (msgspec.json.encode(revisions).decode(),), narrow=True
    )


def remember_facts(connection: apsw.Connection, space: int, revision: int, metadata: Mapping[str, Scalar]) -> None:
    """Let filters find a revision."""
    connection.executemany(
        "insert into facts(space, key, kind, value, revision) values(?, ?, ?, ?, ?)",
        ((space, key, _kind(value), _stored(value), revision) for key, value in metadata.items()),
    )


def forget_facts(connection: apsw.Connection, revision: int) -> None:
    """Let them not find it any more."""
    connection.execute("delete from facts where revision = ?", (revision,))


def _alive(space: int, now: float) -> Condition:
    # The sign keeps SQLite from taking all rows of the namespace where something better is there.
    return Condition("+i.space = ? and (i.expires is null or i.expires > ?)", (space, now))


def _both(*parts: Condition) -> Condition:
    bindings = tuple(binding for part in parts for binding in part.bindings)
    return Condition(" and ".join(part.sql for part in parts), bindings, any(part.narrow for part in parts))


def _fitting(one: Filter) -> Condition:
    fact = _fact(one)
    exists = "not exists" if one.comparison is Comparison.DIFFERENT else "exists"
    return Condition(f"{exists}(select 1 from facts f where f.revision = i.latest and {fact.sql})", fact.bindings)


def _fact(one: Filter) -> Condition:
    """On rows `f` of `facts`; that something differs is the opposite of being equal."""
    match one.comparison:
        case Comparison.EQUAL | Comparison.DIFFERENT | Comparison.AMONG:
            pairs = ", ".join("(?, ?)" for _ in one.values)
            bindings = [binding for value in one.values for binding in (_kind(value), _stored(value))]
            return Condition(f"f.key = ? and (f.kind, f.value) in (values {pairs})", (one.key, *bindings))
        case Comparison.LESS | Comparison.AT_MOST | Comparison.MORE | Comparison.AT_LEAST:
            value = one.values[0]
            return Condition(
                f"f.key = ? and f.kind = ? and f.value {_OPERATORS[one.comparison]} ?",
                (one.key, _kind(value), _stored(value)),
            )
        case _:
            assert_never(one.comparison)


def _kind(value: Scalar) -> str:
    match value:
        case bool():
            return _TRUTH
        case int() | float():
            return _NUMBER
        case str():
            return _TEXT
        case _:
            assert_never(value)


def _stored(value: Scalar) -> int | float | str:
    return int(value) if isinstance(value, bool) else value
