"""The process table as `ps` and `top` show it, and one process as `show` does. Pure: time comes in."""

from __future__ import annotations

from collections.abc import Sequence

from llmos.apps.llmosctl import units
from llmos.apps.llmosctl.tables import Column, pairs, table
from llmos.syscalls.abi.messages import Context
from llmos.syscalls.abi.words import Limits, Origin, PriorityClass, ProcessInfo

NARROW = 80
"""How wide `ps` is when it writes to no terminal."""

_COLUMNS = (
    Column("PID", right=True),
    Column("STATE"),
    Column("CLASS"),
    Column("NAME", least=4),
    Column("OWNER", least=4),
    Column("CTX", right=True),
    Column("GEN", right=True),
    Column("DEV", right=True),
    Column("HOST", right=True),
    Column("PRE", right=True),
    Column("AGE", right=True),
    Column("WAITS FOR", least=4),
)

_SHORT_CLASS = {
    PriorityClass.REALTIME: "real",
    PriorityClass.INTERACTIVE: "inter",
    PriorityClass.NORMAL: "norm",
    PriorityClass.BATCH: "batch",
    PriorityClass.IDLE: "idle",
}

LEGEND = "CTX, GEN in tokens; DEV, HOST in pages; PRE: times preempted; a cell that was cut ends in +."


def process_table(processes: Sequence[ProcessInfo], now: float, width: int | None) -> list[str]:
    """Lines of the table, in the order given; `width` None cuts nothing."""
    return table(_COLUMNS, [_row(process, now) for process in processes], width)


def _row(process: ProcessInfo, now: float) -> tuple[str, ...]:
    return (
        str(process.pid),
        process.state.value,
        _SHORT_CLASS[process.priority],
        process.name or "-",
        process.principal or "-",
        units.count(process.context_tokens),
        units.count(process.generated_tokens),
        units.count(process.pages.device),
        units.count(process.pages.host),
        units.count(process.preemptions),
        units.age(now - process.created),
        _waits_for(process),
    )


def _waits_for(process: ProcessInfo) -> str:
    if process.code is not None:
        return f"exit {process.code}" + (f" {process.reason}" if process.reason else "")
    return process.waiting_for or "-"


def details(process: ProcessInfo, now: float) -> list[str]:
    """Everything about one process, a line each."""
    pages = process.pages
    rows = [
        ("pid", f"{process.pid} (child of {process.parent})"),
        ("name", process.name or "-"),
        ("owner", process.principal + (f", app {process.app}" if process.app else "")),
        ("model", process.model or "-"),
        (
            "state",
            process.state.value + (f", waits for {process.waiting_for}" if process.waiting_for else ""),
        ),
        ("priority", f"{process.priority.value}, weight {process.weight}"),
        ("deadline", "-" if process.deadline is None else units.moment(process.deadline)),
        ("context", f"{process.context_tokens} tokens, {process.generated_tokens} of all generated"),
        ("pages", f"device {pages.device}, host {pages.host}, disk {pages.disk}"),
        ("", f"shared {pages.shared}, dirty {pages.dirty}"),
        ("swapped", f"{process.swapped_out_pages} pages out, {process.swapped_in_pages} in"),
        ("preempted", f"{process.preemptions} times, {process.recomputed_tokens} tokens recomputed"),
        ("waited", units.duration(process.wait_seconds)),
        ("created", f"{units.moment(process.created)} ({units.age(now - process.created)} ago)"),
        ("called", f"{process.tool_calls} tools"),
        ("limits", limits_text(process.limits)),
        ("signals", f"{process.pending_signals} pending"),
    ]
    if process.code is not None:
        rows.append(("exit", f"{process.code} {process.reason or ''}"))
    return pairs(rows)


def context_lines(context: Context) -> list[str]:
    """What the model sees: before each part where it comes from, and its text behind a bar."""
    lines: list[str] = []
    for span in context.spans:
        lines.append(f"{span.start}-{span.end} {origin_text(span.origin)}")
        lines += [f"| {units.printable(line)}" for line in span.text.split("\n")]
    return lines or ["empty"]


def origin_text(origin: Origin) -> str:
    """Where something comes from, in words."""
    item = f" {origin.id}" + (f" v{origin.version}" if origin.version is not None else "") if origin.id else ""
    where = f" {origin.name}" if origin.name else ""
    process = f" {origin.pid}" if origin.pid is not None else ""
    by = f" by {origin.by}" if origin.by else ""
    return f"{origin.kind.value}{where}{item}{process}{by}"


def limits_text(limits: Limits) -> str:
    """The limits that are set, as `limit` takes them."""
    fields = {
        "context_tokens": limits.context_tokens,
        "generated_tokens": limits.generated_tokens,
        "wall_seconds": limits.wall_seconds,
        "children": limits.children,
        "tool_calls": limits.tool_calls,
    }
    return " ".join(f"{name}={value:g}" for name, value in fields.items() if value is not None) or "none"
