"""The program `llmosctl`: its commands, and how it ends."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

import click

from llmos.apps.llmosctl import (
    apps,
    audit,
    chat,
    doctor,
    encode,
    files,
    generate,
    ipc,
    lifecycle,
    memory,
    models,
    policy,
    processes,
    security,
    tools,
    top,
)
from llmos.apps.llmosctl.failures import ExitCode, Failed, complain
from llmos.apps.llmosctl.options import Group
from llmos.syscalls.abi.errors import Error

_EPILOG = """\b
Exit codes:
  0  done                           4  not permitted
  1  the call failed                5  no such process or thing
  2  wrong usage                  124  timed out
  3  no daemon answers            130  interrupted

\b
Completion (bash 4.4; zsh_source and fish_source for those):
  eval "$(_LLMOSCTL_COMPLETE=bash_source llmosctl)"
"""


@click.group(cls=Group, epilog=_EPILOG)
def llmosctl() -> None:
    """Inference contexts as processes: start the daemon, run prompts, see and steer what runs."""


for _command in (
    lifecycle.up,
    lifecycle.down,
    lifecycle.drain,
    lifecycle.info,
    lifecycle.stats,
    lifecycle.version,
    doctor.doctor,
    models.model,
    memory.mem,
    generate.run,
    chat.chat,
    *encode.COMMANDS,
    top.top,
    *processes.COMMANDS,
    *security.COMMANDS,
    policy.policy,
    ipc.ipc,
    audit.audit,
    tools.tool,
    files.fs,
    apps.app,
):
    llmosctl.add_command(_command)


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return the exit code; errors are told on stderr."""
    try:
        status = llmosctl.main(list(arguments), prog_name="llmosctl", standalone_mode=False)
    except (Error, Failed, click.ClickException) as error:
        return int(complain(error))
    except (click.Abort, KeyboardInterrupt):
        return int(ExitCode.INTERRUPTED)
    return status if isinstance(status, int) else int(ExitCode.OK)


def main() -> None:
    """The console script. SIGTERM ends a command like Ctrl-C: what it began is cleaned up."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(run(sys.argv[1:]))
