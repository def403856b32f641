"""What a benchmark found: figures with their peers, as a JSON file and as a table.

It does not know what was measured. Rules: a figure is the ratio of two things that were measured in turns in the same
run; medians are given with the least and the most; absolute numbers only stand beside the ratio.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
from rich.console import Console
from rich.table import Table

from bench.machine import Machine

Better = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True)
class Spread:
    """Several measurements of one thing."""

    median: float
    least: float
    most: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one measurement."""
        return cls(statistics.median(values), min(values), max(values), len(values))


@dataclass(frozen=True, slots=True)
class Figure:
    """`value` against `peer`, both in `unit`; `ratio` is value / peer, taken pair by pair."""

    name: str
    unit: str
    value: Spread
    peer_name: str
    peer: Spread
    ratio: Spread
    better: Better


@dataclass(frozen=True, slots=True)
class Fact:
    """A number that belongs to the figures: a count, a size, something that must be 0."""

    name: str
    value: float
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Findings:
    """What one benchmark found."""

    figures: tuple[Figure, ...]
    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """What is written to the file of one benchmark. `taken` is the date and time in UTC."""

    benchmark: str
    about: str
    quick: bool
    taken: str
    seconds: float
    machine: Machine
    findings: Findings


def compare(
    name: str, unit: str, values: Sequence[float], peer_name: str, peers: Sequence[float], better: Better
) -> Figure:
    """A figure of measurements that were taken in pairs."""
    ratios = [value / peer for value, peer in zip(values, peers, strict=True)]
    return Figure(name, unit, Spread.of(values), peer_name, Spread.of(peers), Spread.of(ratios), better)


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that at least so many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def write(record: Record, folder: Path) -> Path:
    """Write the record as JSON; the file."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{record.benchmark}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")
    return path


def show(record: Record, console: Console) -> None:
    """Print the record as a table."""
    table = Table(title=f"{record.benchmark}: {record.about}", title_justify="left", title_style="bold", expand=False)
    for heading in ("what", "ratio", "min - max", "better", "measured", "peer", "unit", "against"):
        table.add_column(heading, overflow="fold")
    for figure in record.findings.figures:
        table.add_row(
            figure.name,
            short(figure.ratio.median),
            f"{short(figure.ratio.least)} - {short(figure.ratio.most)}",
            figure.better,
            short(figure.value.median),
            short(figure.peer.median),
            figure.unit,
            figure.peer_name,
        )
    console.print(table)
    for fact in record.findings.facts:
        console.print(f"  {fact.name}: {short(fact.value)} {fact.unit}".rstrip(), highlight=False)
    console.print(f"  ({record.seconds:.0f} s)\n", highlight=False)


def short(value: float) -> str:
    """A number with three significant digits, in full where it is longer than that."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
