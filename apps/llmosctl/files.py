"""`llmosctl fs`: files in homes. What takes longer than a second shows how far it is, on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Protocol

import click

from llmos.apps.llmosctl import units
from llmos.apps.llmosctl.connection import connected, emit
from llmos.apps.llmosctl.options import Command, Group, Options, pass_options
from llmos.apps.llmosctl.tables import Column, pairs, table
from llmos.syscalls.abi.files import FileChanged, FileKind, FileStat, KeptVersion

_PIECE = 1 << 20
_PATIENCE = 1.0
"""Seconds before a bar appears."""

STDIO = "-"


@click.group(cls=Group)
def fs() -> None:
    """Read and write files; a PATH is /home/OWNER/..., or relative to your own home."""


@fs.command(cls=Command)
@click.argument("path", default="")
@pass_options
def ls(options: Options, path: str) -> None:
    """List a directory, your home unless PATH is given."""
    with connected(options) as system:
        entries = system.files.list(path)
    emit(options, entries, _entry_lines(entries) if entries else [])


@fs.command(cls=Command)
@click.argument("path")
@pass_options
def stat(options: Options, path: str) -> None:
    """Describe a file or directory."""
    with connected(options) as system:
        found = system.files.stat(path)
    emit(options, found, _stat_lines(found))


@fs.command(cls=Command)
@click.argument("path")
@pass_options
def cat(options: Options, path: str) -> None:
    """Print a file."""
    with connected(options) as system, system.files.open(path) as file:
        for chunk in file:
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()


@fs.command(cls=Command)
@click.argument("source", type=click.Path(dir_okay=False, allow_dash=True))
@click.argument("path", required=False)
@click.option("--append", is_flag=True, help="Append instead of replacing.")
@click.option("--new", is_flag=True, help="Fail if PATH exists.")
@pass_options
def put(options: Options, source: str, path: str | None, append: bool, new: bool) -> None:
    """Store the file SOURCE, or - for stdin, as PATH [default: under its own name]."""
    if path is None and source == STDIO:
        raise click.UsageError("what comes from stdin needs a PATH")
    if append and new:
        raise click.UsageError("--append and --new exclude each other")
    mode = "a" if append else "x" if new else "w"
    with ExitStack() as stack:
        reading, size = stack.enter_context(_source(source))
        system = stack.enter_context(connected(options))
        file = stack.enter_context(system.files.open(path or Path(source).name, mode))
        task = stack.enter_context(_progress(f"put {file.stat.path}", size))
        while data := reading.read(_PIECE):
            file.write(data)
            task.advance(len(data))
        stored = file.close()
    emit(options, stored, [f"{stored.path}: {units.size(stored.size)}, version {stored.version}"])


@fs.command(cls=Command)
@click.argument("path")
@click.argument("target", type=click.Path(allow_dash=True), required=False)
@pass_options
def get(options: Options, path: str, target: str | None) -> None:
    """Copy the file PATH here, as TARGET or to - for stdout [default: under its own name]."""
    with ExitStack() as stack:
        system = stack.enter_context(connected(options))
        file = stack.enter_context(system.files.open(path))
        stat = file.stat
        writing = stack.enter_context(_target(target or stat.path.rpartition("/")[2], stat))
        task = stack.enter_context(_progress(f"get {stat.path}", stat.size))
        for chunk in file:
            writing.write(chunk)
            task.advance(len(chunk))
    if target != STDIO:
        emit(options, stat, [f"{stat.path}: {units.size(stat.size)}"])


@fs.command(cls=Command)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("-r", "recursive", is_flag=True, help="Directories too, with what is in them.")
@pass_options
def rm(options: Options, paths: tuple[str, ...], recursive: bool) -> None:
    """Remove files with their versions, or empty directories."""
    with connected(options) as system:
        for path in paths:
            system.files.unlink(path, recursive)
    emit(options, {"removed": paths}, [])


@fs.command(cls=Command)
@click.argument("path")
@click.option("-p", "parents", is_flag=True, help="Those above it too; one that is there is no error.")
@pass_options
def mkdir(options: Options, path: str, parents: bool) -> None:
    """Make a directory."""
    with connected(options) as system:
        made = system.files.mkdir(path, parents)
    emit(options, made, [])


@fs.command(cls=Command)
@click.argument("path")
@click.argument("target")
@click.option("-f", "replace", is_flag=True, help="Replace a file that is there; its content is kept as a version.")
@pass_options
def mv(options: Options, path: str, target: str, replace: bool) -> None:
    """Give a file or directory another path, in the same home."""
    with connected(options) as system:
        moved = system.files.rename(path, target, replace)
    emit(options, moved, [])


@fs.command(cls=Command)
@click.argument("path")
@pass_options
def versions(options: Options, path: str) -> None:
    """List older contents of a file that are kept."""
    with connected(options) as system:
        kept = system.files.versions(path)
    emit(options, kept, _version_lines(kept) if kept else [])


@fs.command(cls=Command)
@click.argument("path")
@click.argument("version", type=click.IntRange(min=1))
@pass_options
def restore(options: Options, path: str, version: int) -> None:
    """Give a file an older content again; the present one is kept."""
    with connected(options) as system:
        restored = system.files.restore(path, version)
    emit(options, restored, [f"{restored.path}: version {restored.version} is as {version} was"])


@fs.command(cls=Command)
@click.argument("path", default="")
@click.option("-n", "count", type=click.IntRange(min=1), help="End after so many changes.")
@pass_options
def watch(options: Options, path: str, count: int | None) -> None:
    """Print what changes at PATH and below it, until interrupted; one JSON object a line with --json."""
    with connected(options) as system, system.files.watch(path) as changes:
        for number, change in enumerate(changes, 1):
            _print_change(options, change)
            if number == count:
                return


class _Task(Protocol):
    def advance(self, amount: int) -> None:
        """So many bytes more."""
        ...


class _Bar:
    """A bar on the terminal, once it has taken a while."""

    def __init__(self, stack: ExitStack, description: str, total: int | None) -> None:
        self._stack = stack
        self._description = description
        self._total = total
        self._began = time.monotonic()
        self._done = 0
        self._shown: _Task | None = None

    def advance(self, amount: int) -> None:
        self._done += amount
        if self._shown is not None:
            self._shown.advance(amount)
        elif sys.stderr.isatty() and time.monotonic() - self._began > _PATIENCE:
            self._shown = self._show()

    def _show(self) -> _Task:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        progress = self._stack.enter_context(Progress(*columns, console=Console(stderr=True), transient=True))
        task = progress.add_task(self._description, total=self._total, completed=self._done)

        class Shown:
            def advance(self, amount: int) -> None:
                progress.advance(task, amount)

        return Shown()


@contextmanager
def _progress(description: str, total: int | None) -> Iterator[_Task]:
    with ExitStack() as stack:
        yield _Bar(stack, description, total)


@contextmanager
def _source(name: str) -> Iterator[tuple[IO[bytes], int | None]]:
    if name == STDIO:
        yield sys.stdin.buffer, None
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115 (the `with` below, whose errors are not of opening)
    except OSError as error:
        raise click.ClickException(f"{name} cannot be read: {error.strerror}") from None
    with file:
        yield file, Path(name).stat().st_size


@contextmanager
def _target(name: str, stat: FileStat) -> Iterator[IO[bytes]]:
    """Where a file goes: under its name when all of it is there, and not before."""
    if name == STDIO:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(name) / stat.path.rpartition("/")[2] if Path(name).is_dir() else Path(name)
    partial = path.with_name(f".{path.name[:200]}.partial")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(path)
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror}") from None
    finally:
        partial.unlink(missing_ok=True)


def _entry_lines(entries: list[FileStat]) -> list[str]:
    columns = [Column("SIZE", right=True), Column("VERSION", right=True), Column("MODIFIED"), Column("NAME")]
    rows = [
        ["-", "-", units.moment(entry.modified), f"{_name(entry)}/"]
        if entry.kind is FileKind.DIRECTORY
        else [units.size(entry.size), str(entry.version), units.moment(entry.modified), _name(entry)]
        for entry in entries
    ]
    return table(columns, rows, None)


def _name(entry: FileStat) -> str:
    return entry.path.rpartition("/")[2]


def _stat_lines(stat: FileStat) -> list[str]:
    rows = [("path", stat.path), ("kind", stat.kind.value), ("modified", units.moment(stat.modified))]
    if stat.kind is FileKind.FILE:
        rows += [("size", f"{stat.size} bytes"), ("version", str(stat.version))]
    return pairs(rows)


def _version_lines(kept: tuple[KeptVersion, ...]) -> list[str]:
    columns = [Column("VERSION", right=True), Column("SIZE", right=True), Column("MODIFIED")]
    return table(columns, [[str(one.version), units.size(one.size), units.moment(one.modified)] for one in kept], None)


def _print_change(options: Options, change: FileChanged) -> None:
    import msgspec

    if options.json:
        click.echo(msgspec.json.encode(change).decode())
    else:
        target = f" -> {change.target}" if change.target is not None else ""
        click.echo(f"{change.change.value}  {change.path}{target}")
    sys.stdout.flush()
