"""`llmosctl app`: make, install, run and look after apps."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import click

from llmos.apps.llmosctl import units
from llmos.apps.llmosctl.connection import connected, emit, tell
from llmos.apps.llmosctl.failures import ExitCode, Failed
from llmos.apps.llmosctl.new_app import files_of
from llmos.apps.llmosctl.options import Command, Group, Options, pass_options
from llmos.apps.llmosctl.tables import Column, table
from llmos.syscalls.abi.apps import AppAsked, AppInfo, OutputStream, RunInfo, RunState
from llmos.syscalls.abi.errors import Error
from llmos.syscalls.sdk.blocking import System
from llmos.syscalls.sdk.blocking_apps import AppOutput, AppRun

_COLUMNS = (
    Column("APP"),
    Column("VERSION"),
    Column("TENANT"),
    Column("IMAGE", right=True),
    Column("OWN", right=True),
    Column("WARM", right=True),
    Column("RUN", right=True),
    Column("STATE"),
    Column("HEALTH"),
    Column("AGE", right=True),
    Column("RESTARTS", right=True),
    Column("REASON", least=12),
)
_NAME = click.argument("name")


@click.group(cls=Group)
def app() -> None:
    """Make, install and run apps, each in a container of its own."""


@app.command(cls=Command)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@pass_options
def new(options: Options, folder: Path) -> None:
    """Make the folder of an app that runs, named as the folder is."""
    name = folder.resolve().name.replace("-", "_").lower()
    if not name.isidentifier() or not name[0].isalpha() or len(name) > 31:
        raise Failed(f"{name!r} cannot be the name of an app", "letters, digits and _, a letter first; 31 at most")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Failed(f"{folder} is there already, and is no empty folder", "choose another place")
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in files_of(name).items():
        (folder / path).write_text(text, encoding="utf-8")
    emit(options, {"name": name, "folder": str(folder)}, [f"{folder} has the app {name}"])
    tell(f"llmosctl app install {folder}")


@app.command(cls=Command)
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--tenant", metavar="TENANT", help="Whose it is to be [default: your own].")
@pass_options
def install(options: Options, folder: Path, yes: bool, tenant: str | None) -> None:
    """Install the app in DIR, or another version of it: shows what it asks for, and builds its image."""
    with connected(options) as system:
        asked = system.apps.check(folder, tenant)
        for line in describe(asked):
            tell(line)
        if not yes and not click.confirm("Install it?", err=True):
            raise Failed("not installed", code=ExitCode.INTERRUPTED)
        done = system.apps.install(folder, tenant, tell)
    line = f"{done.name} {done.version} is installed; its image has {units.size(done.image_size)}"
    emit(options, done, [f"{line}, {units.size(done.own_size)} of them its own"])


@app.command("list", cls=Command)
@pass_options
def list_apps(options: Options) -> None:
    """List apps with their runs; IMAGE is the size of the whole image, OWN what it adds to the one it is built on."""
    with connected(options) as system:
        apps = system.apps.list()
    now = time.time()
    emit(options, apps, table(_COLUMNS, [row for one in apps for row in _rows(one, now)], None))


@app.command(cls=Command, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--detach", is_flag=True, help="Print the number of the run and leave it alone.")
@click.option("--unsandboxed", is_flag=True, help="WITHOUT A CONTAINER: for administrators who develop an app.")
@_NAME
@click.argument("arguments", metavar="[ARGS]...", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def run(context: click.Context, detach: bool, unsandboxed: bool, name: str, arguments: tuple[str, ...]) -> None:
    """Run an app in the terminal; its exit status is that of this command. Ctrl-C ends it."""
    options = context.find_object(Options) or Options(Path())
    if unsandboxed:
        tell(f"WARNING: {name} runs WITHOUT A SANDBOX: it can do whatever the daemon can")
    with connected(options) as system:
        # Whoever looks on sees how it ends; what nobody looks after is begun again as its manifest says.
        begun = system.apps.run(name, *arguments, sandboxed=not unsandboxed, restart=None if detach else "no")
        if detach:
            emit(options, {"name": name, "run": begun.number}, [str(begun.number)])
            return
        ended = _attend(system, begun)
    if ended.status is None or ended.status != 0:
        tell(f"{name}: {ended.reason}")
    context.exit(ended.status if ended.status is not None else int(ExitCode.FAILED))


@app.command(cls=Command)
@_NAME
@click.option("--run", "number", type=click.IntRange(min=1), help="Which run [default: the last].")
@click.option("--follow", "-f", is_flag=True, help="Go on until it has ended.")
@click.option("--times", is_flag=True, help="Say when each line was written.")
@pass_options
def logs(options: Options, name: str, number: int | None, follow: bool, times: bool) -> None:
    """Print what a run has said."""
    with connected(options) as system, system.apps.logs(name, number, follow) as output:
        _print(output, times)


@app.command(cls=Command)
@_NAME
@click.option("--run", "number", type=click.IntRange(min=1), help="Which run [default: all of them].")
@click.option("--grace", type=click.FloatRange(min=0), default=10.0, metavar="SECONDS", help="Then it is killed [10].")
@pass_options
def stop(options: Options, name: str, number: int | None, grace: float) -> None:
    """End the runs of an app."""
    with connected(options) as system:
        stopped = system.apps.stop(name, number, grace)
    emit(options, stopped, [])


@app.command(cls=Command)
@_NAME
@pass_options
def remove(options: Options, name: str) -> None:
    """Remove an app that does not run; its files and memory stay."""
    with connected(options) as system:
        system.apps.remove(name)
    emit(options, {"name": name}, [])


def describe(asked: AppAsked) -> Iterator[str]:
    """What an app asks for, for people."""
    yield f"{asked.name} {asked.version}: {units.printable(asked.about)}"
    if asked.installed is not None:
        yield f"version {asked.installed} is installed"
    yield "it asks to be allowed"
    for one in asked.permissions:
        condition = f" if {one.condition}" if one.condition else ""
        beyond = "" if one.usual else "   <-- more than apps usually have"
        why = f": {units.printable(one.why)}" if one.why else ""
        yield f"  {one.action} on {one.object}{condition}{why}{beyond}"
    if not asked.permissions:
        yield "  nothing"
    bounds = asked.limits
    yield (
        f"it gets {units.size(bounds.memory)} of memory, {bounds.cpus:g} processors, {bounds.processes} processes, "
        f"{units.size(bounds.scratch)} of scratch"
    )
    yield f"it reaches {', '.join(asked.hosts)} and nothing else" if asked.hosts else "it gets no network"
    if asked.packages:
        yield f"it brings {', '.join(asked.packages)}"


def _attend(system: System, begun: AppRun) -> RunInfo:
    """Carry input in and output out until the run has ended."""
    threading.Thread(target=_carry_input, args=(begun,), name="input", daemon=True).start()
    with begun.output() as output:
        try:
            _print(output, times=False)
        except KeyboardInterrupt:
            begun.stop()
            _print(output, times=False)
        return output.result()


def _carry_input(begun: AppRun) -> None:
    try:
        while data := os.read(sys.stdin.fileno(), 1 << 14):
            begun.write(data)
        begun.close_input()
    except (Error, OSError, ValueError):
        return  # it has ended, or reads no more


def _print(output: AppOutput, times: bool) -> None:
    for said in output:
        target = sys.stderr if said.stream is OutputStream.ERR else sys.stdout
        prefix = f"{units.moment(said.at)} ".encode() if times else b""
        target.buffer.write(prefix + said.data)
        target.buffer.flush()


def _rows(one: AppInfo, now: float) -> list[tuple[str, ...]]:
    image, own = units.size(one.image_size) if one.image_size else "none", units.size(one.own_size)
    begin = (one.name, one.version, one.tenant, image, own, str(one.warm))
    shown = [run for run in one.runs if run.state is not RunState.ENDED] or list(one.runs[-1:])
    if not shown:
        return [(*begin, "", "", "", "", "", "")]
    return [(*begin, *_run(run, now)) for run in shown]


def _run(run: RunInfo, now: float) -> tuple[str, ...]:
    alive = run.state is not RunState.ENDED
    health = run.health.value if alive else ""
    sandbox = "" if run.sandbox != "none" else "WITHOUT A SANDBOX; "
    age = units.age((run.ended or now) - run.started)
    return str(run.run), run.state.value, health, age, str(run.restarts), sandbox + run.reason
