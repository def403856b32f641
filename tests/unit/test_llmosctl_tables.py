"""Tables and numbers as llmosctl prints them."""

from __future__ import annotations

import pytest

from llmos.apps.llmosctl import units
from llmos.apps.llmosctl.tables import Column, cut, pairs, table

COLUMNS = (Column("PID", right=True), Column("NAME", least=4), Column("WAITS FOR", least=4))


def test_a_table_is_as_wide_as_its_cells() -> None:
    assert table(COLUMNS, [["7", "agent", "input"], ["12", "b", "-"]], 80) == [
        "PID NAME  WAITS FOR",
        "  7 agent input",
        " 12 b     -",
    ]


def test_a_table_without_rows_has_its_titles() -> None:
    assert table(COLUMNS, [], 80) == ["PID NAME WAITS FOR"]


def test_a_table_that_is_too_wide_cuts_its_widest_flexible_column_and_marks_the_cut() -> None:
    lines = table(COLUMNS, [["7", "a-very-long-name-of-an-agent", "input"]], 30)
    assert lines == ["PID NAME             WAITS FOR", "  7 a-very-long-nam+ input"]


def test_no_column_gets_narrower_than_its_least_width() -> None:
    assert table(COLUMNS, [["1234567", "abcdefgh", "ijklmnop"]], 1)[1] == "1234567 abc+ ijk+"


def test_without_a_width_nothing_is_cut() -> None:
    assert "x" * 300 in table(COLUMNS, [["1", "x" * 300, ""]], None)[1]


def test_a_text_that_fits_is_not_cut() -> None:
    assert cut("agent", 5) == "agent"
    assert cut("agents", 5) == "agen+"


def test_pairs_line_up() -> None:
    assert pairs([("pid", "7"), ("priority", "batch"), ("", "more")]) == [
        "pid       7",
        "priority  batch",
        "          more",
    ]


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (99_999, "99999"), (100_000, "100k"), (1_234_567, "1.2M"), (25_600_000, "26M"), (10**18, "1000P")],
)
def test_counts_stay_short(number: int, text: str) -> None:
    assert units.count(number) == text
    assert len(text) <= 5


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0s"), (0, "0s"), (12.9, "12s"), (187, "3m07"), (7980, "2h13"), (439_200, "5d02"), (86_400_000, "1000d")],
)
def test_ages_stay_short(seconds: float, text: str) -> None:
    assert units.age(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "0.25s"), (1.26, "1.3s"), (12.4, "12s"), (187, "3m07s"), (7980, "2h13m"), (439_200, "5d02h")],
)
def test_durations_have_units(seconds: float, text: str) -> None:
    assert units.duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB"), (5 << 40, "5.0 TiB")]
)
def test_sizes_are_binary(number: int, text: str) -> None:
    assert units.size(number) == text
