"""From what went wrong to `error:`, `hint:` and an exit code. The codes are a promise to scripts."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import IntEnum

import click

from llmos.syscalls.abi.errors import Cancelled, Error, NoSuchProcess, NotFound, PermissionDenied, TimedOut


class ExitCode(IntEnum):
    """What llmosctl ends with."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NO_DAEMON = 3
    PERMISSION = 4
    NOT_FOUND = 5
    TIMED_OUT = 124
    INTERRUPTED = 130


class Failed(Exception):
    """A command failed for a reason of its own. `hint` says what to do about it."""

    def __init__(self, message: str, hint: str = "", code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code


@dataclass(frozen=True, slots=True)
class Complaint:
    """What the user is told, and how the program ends."""

    message: str
    hint: str
    code: ExitCode


def complaint_of(error: Error | Failed | click.ClickException) -> Complaint:
    """What to say about an error."""
    match error:
        case Failed():
            return Complaint(str(error), error.hint, error.code)
        case click.UsageError():
            command = error.ctx.command_path if error.ctx is not None else "llmosctl"
            return Complaint(error.format_message(), f"{command} --help", ExitCode.USAGE)
        case click.ClickException():
            return Complaint(error.format_message(), "", ExitCode.FAILED)
        case _:
            return Complaint(error.message, error.hint, exit_code_of(error))


def exit_code_of(error: Error) -> ExitCode:
    """The exit code for an error of a call."""
    match error:
        case PermissionDenied():
            return ExitCode.PERMISSION
        case NoSuchProcess() | NotFound():
            return ExitCode.NOT_FOUND
        case TimedOut():
            return ExitCode.TIMED_OUT
        case Cancelled():
            return ExitCode.INTERRUPTED
        case _:
            return ExitCode.FAILED


def complain(error: Error | Failed | click.ClickException) -> ExitCode:
    """Print `error:` and `hint:` on stderr; returns the exit code."""
    complaint = complaint_of(error)
    click.echo(f"error: {complaint.message}", err=True)
    if complaint.hint:
        click.echo(f"hint: {complaint.hint}", err=True)
    sys.stderr.flush()
    return complaint.code
