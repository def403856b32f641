"""The process table, one process, limits and reasons, as llmosctl prints them."""

from __future__ import annotations

import click
import msgspec
import pytest

from llmos.apps.llmosctl.process_table import details, limits_text, process_table
from llmos.apps.llmosctl.processes import history_lines, parse_limits, why_lines
from llmos.syscalls.abi.messages import HistoryEntry, Why
from llmos.syscalls.abi.words import Limits, PageCounts, PriorityClass, ProcessInfo, State

AGENT = ProcessInfo(
    pid=7,
    parent=1,
    name="summary",
    app="",
    principal="admin",
    model="smollm2:135m",
    state=State.RUNNING,
    waiting_for="",
    priority=PriorityClass.BATCH,
    weight=100,
    context_tokens=1834,
    generated_tokens=120,
    pages=PageCounts(device=58, host=57, shared=3, dirty=1),
    preemptions=2,
    swapped_out_pages=40,
    swapped_in_pages=40,
    recomputed_tokens=0,
    wait_seconds=1.5,
    created=1_000.0,
    limits=Limits(),
)
WAITING = msgspec.structs.replace(
    AGENT, pid=12, name="", state=State.WAITING, waiting_for="input", priority=PriorityClass.INTERACTIVE
)
EXITED = msgspec.structs.replace(AGENT, pid=13, state=State.EXITED, code=137, reason="killed by admin")


def test_ps_shows_a_line_for_each_process() -> None:
    assert process_table([AGENT, WAITING, EXITED], now=1_187.0, width=80) == [
        "PID STATE   CLASS NAME    OWNER  CTX GEN DEV HOST PRE  AGE WAITS FOR",
        "  7 running batch summary admin 1834 120  58   57   2 3m07 -",
        " 12 waiting inter -       admin 1834 120  58   57   2 3m07 input",
        " 13 exited  batch summary admin 1834 120  58   57   2 3m07 exit 137 killed by a+",
    ]


def test_ps_of_nothing_shows_its_titles() -> None:
    assert process_table([], now=0.0, width=80)[0].startswith("PID STATE")


def test_details_name_every_page_count_and_the_limits() -> None:
    limited = msgspec.structs.replace(AGENT, limits=Limits(context_tokens=4096))
    text = "\n".join(details(limited, now=1_187.0))
    assert "device 58, host 57, disk 0" in text
    assert "shared 3, dirty 1" in text
    assert "context_tokens=4096" in text
    assert "exit" not in text


def test_details_of_an_exited_process_say_how_it_ended() -> None:
    assert "exit       137 killed by admin" in details(EXITED, now=1_187.0)


def test_limits_print_as_they_are_typed() -> None:
    assert limits_text(Limits()) == "none"
    assert limits_text(Limits(generated_tokens=0, wall_seconds=2.5)) == "generated_tokens=0 wall_seconds=2.5"


def test_limits_are_read_from_keys_and_values() -> None:
    assert parse_limits(["context_tokens=4096", "wall_seconds=1.5", "children=none"]) == {
        "context_tokens": 4096,
        "wall_seconds": 1.5,
        "children": None,
    }


@pytest.mark.parametrize("change", ["tokens=1", "context_tokens", "context_tokens=many", "children=1.5", "=", ""])
def test_a_limit_that_means_nothing_is_wrong_usage(change: str) -> None:
    with pytest.raises(click.UsageError):
        parse_limits([change])


def test_why_says_what_rule_holds_a_process_back() -> None:
    answer = Why(7, State.READY, "a slot", "classes are strict", 3, (HistoryEntry(0.0, "spawned"),))
    lines = why_lines(answer)
    assert lines[:4] == [
        "state        ready",
        "waits for    a slot",
        "by the rule  classes are strict",
        "before it    3 processes",
    ]
    assert lines[4].endswith("  spawned")


def test_history_is_a_line_for_each_entry() -> None:
    assert len(history_lines([HistoryEntry(0.0, "spawned"), HistoryEntry(1.0, "stopped")])) == 2
