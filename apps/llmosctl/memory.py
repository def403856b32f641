"""The commands `mem ...`: long-term memory from a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from llmos.apps.llmosctl import units
from llmos.apps.llmosctl.connection import connected, emit, tell
from llmos.apps.llmosctl.memory_words import Comparing, Given, Metadata, conditions, metadata_of
from llmos.apps.llmosctl.options import Command, Group, Options, pass_options
from llmos.apps.llmosctl.tables import Column, pairs, table
from llmos.syscalls.abi.errors import InvalidArgument
from llmos.syscalls.abi.memory import Derived, MemoryRecord, SearchMode, Trust

SHOWN = 60
"""Characters of a text in a table."""

namespace_option = click.option("--namespace", "-n", metavar="N", help="NAME, OWNER/NAME or @TENANT/NAME.")
where_option = click.option(
    "--where", "-w", multiple=True, type=Comparing(), metavar="KEY=VALUE", help="Also != < <= > >=; may be repeated."
)
pid_option = click.option("--pid", type=int, metavar="PID", help="The process that this is done for.")


@click.group(cls=Group)
def mem() -> None:
    """Write, find and erase what agents remember."""


@mem.command(cls=Command)
@click.argument("text", required=False)
@click.option("--file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Take the text from a file.")
@click.option("--id", metavar="ID", help="Of the item; its next version if there is one.")
@click.option("--meta", "-m", multiple=True, type=Metadata(), metavar="KEY=VALUE", help="Metadata; may be repeated.")
@click.option("--expires", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="When to forget it.")
@click.option("--trust", type=click.Choice([trust.value for trust in Trust]), default="user", help="Where it is from.")
@click.option("--expected", type=click.IntRange(min=0), metavar="N", help="What the latest version must be; 0: none.")
@namespace_option
@pid_option
@pass_options
def put(
    options: Options,
    text: str | None,
    file: Path | None,
    id: str | None,
    meta: tuple[Given, ...],
    expires: float | None,
    trust: str,
    expected: int | None,
    namespace: str | None,
    pid: int | None,
) -> None:
    """Write TEXT, or what stands on stdin."""
    written = _text(text, file)
    with connected(options) as system:
        record = system.memory.put(written, metadata_of(meta), namespace, id, pid, trust, expires, expected)
    emit(options, record, [f"{record.id}  version {record.version}"])


@mem.command(cls=Command)
@click.argument("id")
@click.option("--version", type=click.IntRange(min=1), metavar="N", help="An older version.")
@namespace_option
@pid_option
@pass_options
def get(options: Options, id: str, version: int | None, namespace: str | None, pid: int | None) -> None:
    """Print the text of an item."""
    with connected(options) as system:
        record = system.memory.get(id, namespace, version, pid)
    emit(options, record, [record.text])


@mem.command(cls=Command)
@click.argument("query")
@click.option("--limit", type=click.IntRange(1, 100), default=10, show_default=True, help="How many.")
@click.option("--mode", type=click.Choice([mode.value for mode in SearchMode]), default="hybrid", show_default=True)
@where_option
@namespace_option
@pid_option
@pass_options
def search(
    options: Options,
    query: str,
    limit: int,
    mode: str,
    where: tuple[Given, ...],
    namespace: str | None,
    pid: int | None,
) -> None:
    """Find items by words and by meaning, best first."""
    with connected(options) as system:
        found = system.memory.search(query, limit, conditions(where), namespace, mode, pid)
    columns = [Column("SCORE", right=True), Column("ID"), Column("TEXT")]
    rows = [(f"{record.score or 0:.4f}", record.id, _short(record.text)) for record in found]
    emit(options, found, table(columns, rows, None))


@mem.command("list", cls=Command)
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="How many.")
@where_option
@namespace_option
@pass_options
def list_items(options: Options, limit: int, where: tuple[Given, ...], namespace: str | None) -> None:
    """List items in the order of their making."""
    with connected(options) as system:
        found = system.memory.list(namespace, conditions(where), limit)
    emit(options, found, _versions(found))


@mem.command(cls=Command)
@click.argument("id", required=False)
@click.option("--all", "everything", is_flag=True, help="Everything in the namespace.")
@where_option
@namespace_option
@pass_options
def forget(options: Options, id: str | None, everything: bool, where: tuple[Given, ...], namespace: str | None) -> None:
    """Erase an item with all its versions, or all that fit."""
    with connected(options) as system:
        gone = system.memory.forget(id, namespace, conditions(where), everything)
    tell(f"{gone.items} items with {gone.versions} versions are gone")
    emit(options, gone, [])


@mem.command(cls=Command)
@click.argument("id")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="How many.")
@namespace_option
@pass_options
def history(options: Options, id: str, limit: int, namespace: str | None) -> None:
    """List the versions of an item, latest first."""
    with connected(options) as system:
        found = system.memory.history(id, namespace, limit)
    emit(options, found, _versions(found))


@mem.command(cls=Command)
@click.argument("id")
@click.argument("version", type=click.IntRange(min=1))
@namespace_option
@pass_options
def rollback(options: Options, id: str, version: int, namespace: str | None) -> None:
    """Make an older version the latest, and say what came of those that are taken back."""
    with connected(options) as system:
        taken = system.memory.rollback(id, version, namespace)
    tell(f"version {version} of {id} is its latest again, as version {taken.record.version}")
    emit(options, taken, pairs([_derived(one) for one in taken.derived]))


def _text(text: str | None, file: Path | None) -> str:
    if text is not None and file is not None:
        raise click.UsageError("TEXT or --file, not both")
    if text is not None:
        return text
    try:
        return sys.stdin.read() if file is None else file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InvalidArgument("the text is not UTF-8", "memory keeps texts; files are for bytes") from None


def _versions(found: Sequence[MemoryRecord]) -> list[str]:
    columns = [Column("ID"), Column("VERSION", right=True), Column("UPDATED"), Column("AUTHOR"), Column("TEXT")]
    rows = [(one.id, str(one.version), units.moment(one.updated), one.author, _short(one.text)) for one in found]
    return table(columns, rows, None)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "+"


def _derived(one: Derived) -> tuple[str, str]:
    if one.pid is not None:
        return f"process {one.pid}", f"read version {one.version}, {units.moment(one.at)}"
    return f"{one.namespace} {one.id}", f"version {one.version} was written, {units.moment(one.at)}"
