"""`python -m bench.markdown [NAME...]`: the results as Markdown tables, for `docs/benchmarks.md`.

It reads what the last runs wrote and changes no number beyond rounding.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from bench.report import Record, Spread, short

RESULTS = Path(__file__).parent / "results"


def tables(record: Record) -> Iterator[str]:
    """The figures as a table, then the facts in a paragraph, line by line."""
    yield "| what | ratio | least - most | better | llmos | peer | unit | peer is |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for figure in record.findings.figures:
        ratio, value, peer = figure.ratio, figure.value, figure.peer
        yield (
            f"| {figure.name} | **{short(ratio.median)}** | {_range(ratio)} | {figure.better} "
            f"| {short(value.median)} | {short(peer.median)} | {figure.unit} | {figure.peer_name} |"
        )
    yield ""
    if record.findings.facts:
        facts = (f"{fact.name}: {short(fact.value)} {fact.unit}".rstrip() for fact in record.findings.facts)
        yield f"Beside them: {'; '.join(facts)}."
        yield ""


def _range(spread: Spread) -> str:
    return f"{short(spread.least)} - {short(spread.most)}"


def main(names: Sequence[str]) -> None:
    """Print all results, or those that are named."""
    for path in sorted(RESULTS.glob("*.json")):
        record = msgspec.json.decode(path.read_bytes(), type=Record)
        if names and record.benchmark not in names:
            continue
        print(f"### {record.benchmark}: {record.about}\n")
        print("\n".join(tables(record)))
        load = f"load average {record.machine.load:.2f} at the start"
        print(f"Taken {record.taken}, {record.seconds:.0f} s, {load}.\n")


if __name__ == "__main__":
    main(sys.argv[1:])
