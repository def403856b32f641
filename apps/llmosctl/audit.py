"""`llmosctl audit`: the log of what was done. `verify --copy` and `export --copy` need no daemon."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import click

from llmos.apps.llmosctl.connection import connected, emit
from llmos.apps.llmosctl.options import Command, Group, Options, pass_options
from llmos.apps.llmosctl.tables import pairs
from llmos.syscalls.abi.security import AuditVerdict

TOOLS = "llmos.kernel.security.audit"
FOLLOW_SECONDS = 30.0
"""How long `tail -f` waits at a time for what is new."""

_tenant = click.option("--tenant", metavar="T", help="Of one tenant [default: your own].")
_kinds = click.option("--kind", "kinds", multiple=True, metavar="K", help="Of one kind: call, denial, key, ...")
_copy = click.option(
    "--copy", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIR", help="A copy of the log."
)


@click.group(cls=Group)
def audit() -> None:
    """Read, verify and export the audit log."""


@audit.command(cls=Command)
@click.option("-n", "limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many records.")
@click.option("-f", "follow", is_flag=True, help="Go on with what is new.")
@_tenant
@_kinds
@pass_options
def tail(options: Options, limit: int, follow: bool, tenant: str | None, kinds: tuple[str, ...]) -> None:
    """Print the newest records."""
    with connected(options) as system:
        page = system.audit.tail(limit, tenant, kinds)
        _print(options, page.lines)
        while follow:
            page = system.audit.read(page.last, tenant=tenant, kinds=kinds, wait=FOLLOW_SECONDS)
            _print(options, page.lines)


@audit.command(cls=Command)
@_copy
@click.option("--public", metavar="HEX|FILE", help="The key that must have signed the copy.")
@click.option("--expect", metavar="N:HASH", help="A record that was remembered elsewhere; see `head`.")
@pass_options
def verify(options: Options, copy: Path | None, public: str | None, expect: str | None) -> None:
    """Say whether the log, or a copy of it, is whole; the exit code is 1 when it is not."""
    if copy is not None or public is not None or expect is not None:
        given = [("--public", public), ("--expect", expect)]
        extra = [word for name, value in given if value is not None for word in (name, value)]
        _run_tools(options, "verify", str(copy or options.home / "audit"), *extra)
        return
    with connected(options) as system:
        verdict = system.audit.verify()
    emit(options, verdict, _verdict_lines(verdict))
    if not verdict.ok:
        raise click.exceptions.Exit(1)


@audit.command(cls=Command)
@click.option("--format", type=click.Choice(["jsonl", "ocsf"]), default="jsonl", show_default=True, help="Of a line.")
@_copy
@_tenant
@_kinds
@pass_options
def export(options: Options, format: str, copy: Path | None, tenant: str | None, kinds: tuple[str, ...]) -> None:
    """Print all records, one JSON object a line."""
    if copy is not None:
        _run_tools(options, "export", str(copy), "--format", format)
        return
    with connected(options) as system:
        for line in system.audit.export(tenant, kinds, format):
            click.echo(line)


def _run_tools(options: Options, command: str, *arguments: str) -> None:
    json_option = ["--json"] if options.json and command == "verify" else []
    status = subprocess.run([sys.executable, "-m", TOOLS, command, *arguments, *json_option], check=False).returncode
    if status != 0:
        raise click.exceptions.Exit(status)


def _print(options: Options, lines: tuple[str, ...]) -> None:
    for line in lines:
        click.echo(line if options.json else _readable(line))


def _readable(line: str) -> str:
    record: dict[str, object] = json.loads(line)
    at = datetime.fromtimestamp(float(str(record["at"]))).strftime("%Y-%m-%d %H:%M:%S")
    words = [at, f"{record['n']:>7}", str(record["kind"])]
    words += [str(record[name]) for name in ("principal", "action", "object", "attributes") if record.get(name)]
    words += [f"{name}={record[name]}" for name in ("outcome", "owner", "digest", "denial") if record.get(name)]
    words += [f"({record['count']} times)"] if "count" in record else []
    return "  ".join(words + ([str(record["detail"])] if record.get("detail") else []))


def _verdict_lines(verdict: AuditVerdict) -> list[str]:
    state = "whole" if verdict.ok else f"{verdict.fault}: {verdict.where}"
    return pairs(
        [
            ("log", state),
            ("records", str(verdict.records)),
            ("head", f"{verdict.head}:{verdict.hash}"),
            ("signed by", verdict.public),
        ]
    ) + (["hint: remember the head elsewhere; audit verify --expect N:HASH compares"] if verdict.ok else [])
