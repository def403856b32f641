"""`llmosctl doctor`: what this machine has of what llmos needs, and how to get the rest. Imports nothing heavy."""

from __future__ import annotations

import click

from llmos.apps.llmosctl.connection import emit
from llmos.apps.llmosctl.examinations import Finding, examine
from llmos.apps.llmosctl.options import Command, Options, pass_options


@click.command(cls=Command)
@pass_options
def doctor(options: Options) -> None:
    """Say what is there, what is missing and how to get it; the exit code is 1 when something required is missing."""
    findings = examine(options)
    emit(options, findings, report(findings))
    if any(finding.required and not finding.ok for finding in findings):
        raise click.exceptions.Exit(1)


def report(findings: tuple[Finding, ...]) -> list[str]:
    """The findings for people, each with its remedy below it."""
    lines = []
    for finding in findings:
        mark = "ok" if finding.ok else "MISSING" if finding.required else "without"
        lines.append(f"{mark:7}  {finding.name}: {finding.detail}")
        if finding.remedy and not finding.ok:
            lines.append(f"         hint: {finding.remedy}")
    return lines
