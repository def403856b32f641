"""`llmosctl chat`: a conversation with one process in the terminal.

Ctrl-C cancels an answer or clears a line; the end of the input, or /quit, ends the conversation.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import click

from llmos.apps.llmosctl.connection import connected, tell
from llmos.apps.llmosctl.failures import complain
from llmos.apps.llmosctl.generate import leave, show_stream, usage_line
from llmos.apps.llmosctl.options import Command, Options, pass_options
from llmos.apps.llmosctl.process_table import details
from llmos.apps.llmosctl.processes import CLASSES, PID
from llmos.apps.llmosctl.sampling import SamplingChoice, sampling_options
from llmos.syscalls.abi.errors import Error, NoSuchProcess
from llmos.syscalls.abi.words import FinishReason
from llmos.syscalls.sdk.blocking import Process

_PROMPT = "> "
_HELP = """\
/rewind [N]  forget the last N exchanges (1)
/info        show the process
/help        show this
/quit        end; so does Ctrl-D
Ctrl-C cancels an answer."""


@click.command(cls=Command)
@click.argument("pid", type=PID, required=False)
@click.option("--model", help="Which model; by default the first that the daemon runs.")
@click.option("--priority", type=CLASSES, default="interactive", show_default=True, help="Priority class.")
@click.option("--system", "system_message", help="The system message.")
@sampling_options
@click.option("--keep", is_flag=True, help="Leave the process there at the end; its pid goes to stderr.")
@click.option("--verbose", "-v", is_flag=True, help="Tell after each answer what it took.")
@pass_options
def chat(
    options: Options,
    /,
    pid: int | None,
    model: str | None,
    priority: str,
    system_message: str | None,
    keep: bool,
    verbose: bool,
    **sampling: object,
) -> None:
    """Talk to a new process, or go on with PID, which stays afterwards."""
    choice = SamplingChoice.of(sampling)
    with connected(options) as system:
        if pid is not None:
            process = system.process(pid)
            process.info()
            Conversation(process, choice, verbose).hold()
            return
        process = system.spawn(model=model, name="chat", priority=priority, system=system_message)
        try:
            Conversation(process, choice, verbose).hold()
        finally:
            leave(process, keep)


@dataclass(slots=True, eq=False)
class Conversation:
    """What is said, and where each exchange began."""

    process: Process
    choice: SamplingChoice
    verbose: bool
    begins: list[int] = field(default_factory=list)
    """Length of the context before each exchange, in tokens."""

    def hold(self) -> None:
        """Talk until the input ends or the process does."""
        if sys.stdin.isatty():
            tell(f"process {self.process.pid}; /help says what else can be typed")
        for line in typed_lines():
            if line == "/quit":
                return
            try:
                self._take(line)
            except NoSuchProcess:
                raise
            except Error as error:
                complain(error)

    def _take(self, line: str) -> None:
        command, _, argument = line.partition(" ")
        match command:
            case "/help":
                click.echo(_HELP)
            case "/info":
                click.echo("\n".join(details(self.process.info(), time.time())))
            case "/rewind":
                self._rewind(argument.strip() or "1")
            case _ if command.startswith("/"):
                tell(f"no command {command}; /help lists them")
            case _:
                self._exchange(line)

    def _exchange(self, question: str) -> None:
        self.begins.append(self.process.info().context_tokens)
        self.process.append([{"role": "user", "content": question}])
        generation = self.process.generate(**self.choice.arguments())
        try:
            done = show_stream(generation)
        except KeyboardInterrupt:
            tell("cancelled")
            return
        if done.finish_reason not in (FinishReason.STOP, FinishReason.LENGTH):
            tell(f"ended by {done.finish_reason.value} {done.detail}".rstrip())
        if self.verbose:
            tell(usage_line(self.process.pid, done))

    def _rewind(self, argument: str) -> None:
        if not argument.isdecimal() or not 1 <= int(argument) <= len(self.begins):
            tell(f"/rewind takes a number from 1 to {len(self.begins)}, the exchanges so far")
            return
        forgotten = int(argument)
        length = self.process.truncate(self.begins[-forgotten])
        del self.begins[-forgotten:]
        tell(f"forgot {forgotten}; {length} tokens of context are left")


def typed_lines() -> Iterator[str]:
    """Lines from the terminal with editing and history, or from a pipe; empty ones are left out."""
    if sys.stdin.isatty():
        import readline  # noqa: F401 - gives input() its line editing
    while True:
        try:
            line = input(_PROMPT if sys.stdin.isatty() else "").strip()
        except EOFError:
            return
        except KeyboardInterrupt:
            click.echo()
            continue
        if line:
            yield line
