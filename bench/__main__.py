"""`python -m bench [--quick] [NAME...]`: measure, write `bench/results/NAME.json`, print a table."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import click
from rich.console import Console

from bench.machine import this_machine
from bench.report import Findings, Record, show, write

RESULTS = Path(__file__).parent / "results"
WIDTH = 120

BENCHMARKS = {
    "core": "time per plan of the scheduler and pager alone",
    "null_call": "a call that does nothing, against a bare ZeroMQ echo",
    "messages": "messages sent, received and acknowledged, against a bare SQLite database with the same durability",
    "files": "bytes of a file that are read and written, against bare messages over the same kind of socket",
    "memory": "recall and latency of a search in long-term memory, against brute force",
    "policy": "a decision of the policy, remembered and anew, with 10 to 10,000 rules",
    "fuzz": "a million inputs for what reads bytes of strangers: crashes, hangs, growth of memory",
    "attack": "null calls while a hundred clients that must not get in try at full speed, against a quiet daemon",
    "fork": "fork of a process with a long context",
    "swap": "pages moved by an engine, against plain copies of the same bytes",
    "decode": "tokens decoded per second, against transformers' eager fp32",
    "grammar": "a step of eight sequences under a JSON schema, against the same without",
    "prefill": "tokens of context computed per second, against transformers' eager fp32",
    "embed": "vectors of a query and of many texts, against transformers' AutoModel",
    "classify": "classification without training: templates and temperatures, on texts of the standard library",
    "apps_start": "an app's start until its first call is answered, warm and cold, against a plain container's",
    "apps": "the apps on real data: what they find, answer and recommend, against a baseline of a page of code",
    "overcommit": "the same work with contexts of one, two and four times the device pool",
    "preempt": "time to first token of an interactive process, idle and while batch processes fill the pool four times",
}
"""Names and what they measure, in the order in which they run: what needs a quiet process comes first."""


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...", type=click.Choice(list(BENCHMARKS)))
@click.option("--quick", is_flag=True, help="Fewer rounds: to see that it works, not to publish.")
def main(names: tuple[str, ...], quick: bool) -> None:
    """Run benchmarks, all of them unless some are named."""
    # The default spins away the core that the other process of a pair needs; it holds for llmos and its peers alike.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    told = Console(stderr=True)
    table = Console() if Console().is_terminal else Console(width=WIDTH)
    for name in names or BENCHMARKS:
        told.print(f"{name} ...", style="dim", highlight=False)
        record = _measure(name, quick)
        show(record, table)
        write(record, RESULTS)


def _measure(name: str, quick: bool) -> Record:
    run: Callable[[bool], Findings] = import_module(f"bench.{name}").run
    machine, began = this_machine(), time.perf_counter()
    findings = run(quick)
    return Record(
        benchmark=name,
        about=BENCHMARKS[name],
        quick=quick,
        taken=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=time.perf_counter() - began,
        machine=machine,
        findings=findings,
    )


if __name__ == "__main__":
    main()
