"""The arithmetic of the benchmarks, and the load that drives the core."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from bench.core_load import CoreLoad, engine_ready
from bench.daemon import prompt
from bench.machine import this_machine
from bench.markdown import tables
from bench.report import Fact, Findings, Record, compare, percentile, short, write
from llmos.kernel.core import invariants


def record() -> Record:
    figure = compare("call", "us", [10.0, 30.0, 20.0], "echo", [5.0, 10.0, 20.0], "lower")
    findings = Findings((figure,), (Fact("calls", 3),))
    return Record("null", "a call", True, "2026-01-01T00:00:00+00:00", 1.0, this_machine(), findings)


def test_a_ratio_is_taken_pair_by_pair_before_its_median() -> None:
    ratio = record().findings.figures[0].ratio
    assert (ratio.median, ratio.least, ratio.most, ratio.count) == (2.0, 1.0, 3.0, 3)


def test_measurements_without_their_peers_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        compare("call", "us", [1.0, 2.0], "echo", [1.0], "lower")


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [percentile(values, percent) for percent in (1, 50, 99, 100)] == [1.0, 50.0, 99.0, 100.0]
    assert percentile([7.0], 99) == 7.0


def test_numbers_are_short_and_never_in_powers_where_they_are_whole() -> None:
    assert [short(value) for value in (0.0, 1.0, 2.345, 99.96, 12345.6)] == ["0", "1", "2.35", "100", "12,346"]


def test_a_record_survives_its_file(tmp_path: Path) -> None:
    path = write(record(), tmp_path / "results")
    assert msgspec.json.decode(path.read_bytes(), type=Record) == record()


def test_a_record_becomes_a_table_with_a_row_for_each_figure() -> None:
    assert [line for line in tables(record()) if line.startswith("| call |")] == [
        "| call | **2** | 1 - 3 | lower | 20 | 10 | us | echo |"
    ]


def test_prompts_of_one_source_share_no_page() -> None:
    source = random.Random(1)
    assert prompt(source, 32) != prompt(source, 32)


def test_the_load_on_the_core_keeps_its_invariants() -> None:
    load = CoreLoad(engine_ready(device_pages=64, host_pages=64, max_batch=8))
    for index in range(20):
        load.generate(load.spawn(24, 8 + index))
    for index in range(60):
        load.arrive(3 if index % 2 else 0)
        load.step()
        invariants.check(load.kernel)
    (engine,) = load.kernel.engines.values()
    assert engine.counters.preemptions > 0
    assert len(load.kernel.table) >= 20
