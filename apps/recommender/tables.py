"""Tables as CSV, with a first row that names the columns. It does not know what is in them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

import llmos


def read_table(name: str, text: str, columns: Sequence[str]) -> Iterator[list[str]]:
    """The rows, each with its values in the order of `columns`; further columns are left out.

    Raises `InvalidArgument` for a column that is missing and for a row that is too short.
    """
    rows = csv.reader(io.StringIO(text, newline=""))
    header = next(rows, [])
    missing = [column for column in columns if column not in header]
    if missing:
        raise llmos.InvalidArgument(
            f"{name}: the column {missing[0]} is missing", f"the first row names the columns: {','.join(columns)}"
        )
    places = [header.index(column) for column in columns]
    for number, row in enumerate(rows, 2):
        if not row:
            continue
        if len(row) <= max(places):
            raise llmos.InvalidArgument(f"{name}, row {number}: {len(row)} values, and there are {len(header)} columns")
        yield [row[place] for place in places]


def write_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """The table as CSV."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue()
