"""Whatever processes there are, `ps` and `top` fit their width."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmos.apps.llmosctl.process_table import process_table
from llmos.syscalls.abi.words import Limits, PageCounts, PriorityClass, ProcessInfo, State

counts = st.integers(0, 10**9)
words = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=128)
pages = st.builds(PageCounts, device=counts, host=counts, disk=counts, shared=counts, dirty=counts)
processes = st.builds(
    ProcessInfo,
    pid=st.integers(1, 9_999_999),
    parent=st.integers(1, 9_999_999),
    name=words,
    app=words,
    principal=words,
    model=words,
    state=st.sampled_from(State),
    waiting_for=words,
    priority=st.sampled_from(PriorityClass),
    weight=st.integers(1, 10_000),
    context_tokens=counts,
    generated_tokens=counts,
    pages=pages,
    preemptions=counts,
    swapped_out_pages=counts,
    swapped_in_pages=counts,
    recomputed_tokens=counts,
    wait_seconds=st.floats(0, 1e6),
    created=st.floats(0, 2e9),
    limits=st.just(Limits()),
    code=st.none() | st.integers(0, 255),
    reason=st.none() | words,
)


@given(st.lists(processes, max_size=20))
def test_the_process_table_fits_80_columns(found: list[ProcessInfo]) -> None:
    lines = process_table(found, now=2e9, width=80)
    assert len(lines) == len(found) + 1
    assert max(map(len, lines)) <= 80


@given(st.lists(processes, min_size=1, max_size=20))
def test_a_pid_is_never_cut(found: list[ProcessInfo]) -> None:
    for line, process in zip(process_table(found, now=2e9, width=80)[1:], found, strict=True):
        assert line.split()[0] == str(process.pid)
