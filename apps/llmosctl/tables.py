"""Plain text tables that fit a width: readable without colour, in a log and through a pipe.

It does not know what is in them. Rule: no line is wider than asked, as long as the columns' least widths fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

CUT = "+"
"""Ends a cell that was cut."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column. One with `least` gives up width, down to that, when the table is too wide; others never do."""

    title: str
    right: bool = False
    least: int | None = None


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """The lines of a table, title first; `width` None means as wide as it takes."""
    widths = _widths(columns, rows, width)
    titles = [column.title for column in columns]
    return [_line(columns, widths, cells) for cells in (titles, *rows)]


def pairs(rows: Sequence[tuple[str, str]], indent: str = "") -> list[str]:
    """Lines of names and values, the values aligned."""
    longest = max((len(name) for name, _ in rows), default=0)
    return [f"{indent}{name.ljust(longest)}  {value}".rstrip() for name, value in rows]


def cut(text: str, width: int) -> str:
    """A text that is no longer than `width`."""
    return text if len(text) <= width else text[: width - len(CUT)] + CUT


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None) -> list[int]:
    lines = [[column.title for column in columns], *rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    if width is None:
        return widths
    excess = sum(widths) + len(widths) - 1 - width
    while excess > 0 and (shrinkable := _shrinkable(columns, widths)):
        widest = max(shrinkable, key=lambda index: widths[index])
        widths[widest] -= 1
        excess -= 1
    return widths


def _shrinkable(columns: Sequence[Column], widths: Sequence[int]) -> list[int]:
    return [
        index
        for index, column in enumerate(columns)
        if column.least is not None and widths[index] > max(column.least, len(CUT))
    ]


def _line(columns: Sequence[Column], widths: Sequence[int], cells: Sequence[str]) -> str:
    padded = (
        cut(cell, width).rjust(width) if column.right else cut(cell, width).ljust(width)
        for column, width, cell in zip(columns, widths, cells, strict=True)
    )
    return " ".join(padded).rstrip()
