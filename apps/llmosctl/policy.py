"""`llmosctl policy`: what holds, what it says and why, and changing it.

`lint` and `test` need no daemon: they are a program of their own, whose output and end are passed on.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

from llmos.apps.llmosctl.connection import connected, emit, tell
from llmos.apps.llmosctl.failures import ExitCode, Failed
from llmos.apps.llmosctl.options import Command, Group, Options, pass_options
from llmos.apps.llmosctl.tables import Column, pairs, table
from llmos.syscalls.abi.errors import NotFound
from llmos.syscalls.abi.security import Answer, ChangedAnswer, PolicyChange, PolicyInForce

TOOLS = "llmos.kernel.security.policy"

_files = click.argument("files", nargs=-1, type=click.Path(exists=True, path_type=Path), metavar="[FILE]...")
_days = click.option(
    "--days", type=click.FloatRange(min=0, min_open=True), default=7.0, show_default=True, help="Days to look back."
)


@click.group(cls=Group)
def policy() -> None:
    """Look at the policy, ask it, test it and change it."""


@policy.command(cls=Command)
@click.argument("name", required=False)
@pass_options
def show(options: Options, name: str | None) -> None:
    """Print the files in force, or the one with this NAME."""
    with connected(options) as system:
        shown = system.policy.show()
    chosen = [file for file in shown.files if name in (None, file.name)]
    if not chosen:
        raise NotFound(f"no policy file is named {name!r}", "llmosctl policy show")
    lines = [line for file in chosen for line in (f"# --- {file.name}", *file.text.splitlines())]
    emit(options, PolicyInForce(tuple(chosen), shown.epoch), lines)


def _question(command: click.Command) -> click.Command:
    """Add what `check` and `explain` ask about."""
    command.params[:0] = [
        click.Argument(["principal"]),
        click.Argument(["action"]),
        click.Argument(["object"]),
        click.Option(["--role"], metavar="R", help="As if its key gave this role."),
        click.Option(["--tenant"], metavar="T", help="As if its key were of this tenant."),
        click.Option(["--attributes"], default="", metavar='"class=batch ..."', help="What the call asks for."),
    ]
    return command


@_question
@policy.command(cls=Command)
@pass_options
def check(
    options: Options, principal: str, action: str, object: str, role: str | None, tenant: str | None, attributes: str
) -> None:
    """Say whether PRINCIPAL may do ACTION to OBJECT, and by which rule; the exit code is 4 when it may not."""
    with connected(options) as system:
        answer = system.policy.check(principal, action, object, role, tenant, attributes)
    emit(options, answer, _verdict(answer))
    if not answer.allowed:
        raise click.exceptions.Exit(ExitCode.PERMISSION)


@_question
@policy.command(cls=Command)
@pass_options
def explain(
    options: Options, principal: str, action: str, object: str, role: str | None, tenant: str | None, attributes: str
) -> None:
    """Show how the answer comes about: whose rules hold, which are about it, and what kept them from deciding."""
    with connected(options) as system:
        answer = system.policy.check(principal, action, object, role, tenant, attributes)
    emit(options, answer, [*_verdict(answer), *_derivation(answer)])


@policy.command(cls=Command, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[FILE|DIR]... [--only]")
@pass_options
def lint(options: Options, arguments: tuple[str, ...]) -> None:
    """Find rules that are shadowed, contradicted or never match, in files or else in the home's policy folder."""
    _run_tools(options, "lint", *(arguments or _own_folder(options)))


@policy.command(cls=Command, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="CASES.yaml [--policy FILE|DIR]... [--only]")
@pass_options
def test(options: Options, arguments: tuple[str, ...]) -> None:
    """Run a file of cases against the home's policy folder, or other files."""
    own = () if "--policy" in arguments else tuple(w for path in _own_folder(options) for w in ("--policy", path))
    _run_tools(options, "test", *arguments, *own)


@policy.command(cls=Command)
@_files
@click.option("--remove", multiple=True, metavar="NAME", help="Take the file of this name away.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_options
def apply(options: Options, files: tuple[Path, ...], remove: tuple[str, ...], yes: bool) -> None:
    """Put files of rules in force, each in place of the one of its name; shows the change and asks first."""
    changes = _changes(files, remove)
    with connected(options) as system:
        for name, text in changes.items():
            epoch = system.policy.show().epoch
            change = system.policy.apply(name, text, dry_run=True)
            _show_change(name, change)
            if not yes and not click.confirm("put this in force?", err=True):
                raise Failed("nothing was changed")
            done = system.policy.apply(name, text, epoch=epoch)
            emit(options, done, [f"{name}: in force, epoch {done.epoch}"])


@policy.command(cls=Command)
@_files
@click.option("--remove", multiple=True, metavar="NAME", help="As if the file of this name were taken away.")
@_days
@pass_options
def diff(options: Options, files: tuple[Path, ...], remove: tuple[str, ...], days: float) -> None:
    """Say which recorded calls would get another answer with these files."""
    with connected(options) as system:
        difference = system.policy.diff(_changes(files, remove), days)
    columns = [Column(title) for title in ("NOW", "TIMES", "WHO", "ROLE", "TENANT", "ACTION", "OBJECT", "BY")]
    rows = [_changed(changed) for changed in difference.changed]
    tell(f"{len(rows)} of {difference.asked} different calls of the last {days:g} days would get another answer")
    emit(options, difference, table(columns, rows, None) if rows else [])


@policy.command(cls=Command)
@click.argument("principal")
@_days
@pass_options
def learn(options: Options, principal: str, days: float) -> None:
    """Propose the least rules, for a role of its own, under which what PRINCIPAL did is allowed."""
    with connected(options) as system:
        learnt = system.policy.learn(principal, days)
    tell(f"from {learnt.calls} recorded calls, for role:{learnt.role}; llmosctl policy apply FILE puts it in force")
    emit(options, learnt, learnt.text.splitlines())


def _own_folder(options: Options) -> tuple[str, ...]:
    folder = options.home / "policy"
    return (str(folder),) if folder.is_dir() else ()


def _run_tools(options: Options, *arguments: str) -> None:
    command = [sys.executable, "-m", TOOLS, *arguments, *(["--json"] if options.json else [])]
    status = subprocess.run(command, check=False).returncode
    if status != 0:
        raise click.exceptions.Exit(status)


def _changes(files: tuple[Path, ...], remove: tuple[str, ...]) -> dict[str, str | None]:
    if not files and not remove:
        raise click.UsageError("name a file, or one to --remove")
    changes: dict[str, str | None] = {file.name: file.read_text(encoding="utf-8") for file in files}
    return changes | dict.fromkeys(remove)


def _show_change(name: str, change: PolicyChange) -> None:
    tell(f"{name}: {len(change.added)} lines added, {len(change.removed)} removed")
    for sign, lines in (("-", change.removed), ("+", change.added)):
        for line in lines:
            tell(f"{sign} {line}")


def _verdict(answer: Answer) -> list[str]:
    if answer.place:
        return [f"{'allowed' if answer.allowed else 'denied'} by {answer.place}: {answer.rule}"]
    roles = f"; roles that may: {', '.join(answer.roles)}" if answer.roles else ""
    return [f"{'allowed' if answer.allowed else 'denied: no rule allows it'}{roles}"]


def _derivation(answer: Answer) -> list[str]:
    lines = pairs(
        [
            ("tenant of the object", answer.tenant),
            ("rules that hold there", "those of " + ", ".join(answer.held)),
            ("roles that may", ", ".join(answer.roles) or "none"),
        ]
    )
    for rule in answer.considered:
        kept = f"    only with {rule.unmet}" if rule.unmet else ""
        lines.append(f"  {rule.place}: {rule.rule}{kept}")
    return lines


def _changed(changed: ChangedAnswer) -> tuple[str, ...]:
    return (
        "allowed" if changed.allowed else "denied",
        str(changed.count),
        changed.principal,
        changed.role,
        changed.tenant,
        changed.action,
        changed.object,
        changed.place or "no rule",
    )
