"""`llmosctl run`: one prompt in, its answer streamed to stdout, and nothing left behind."""

from __future__ import annotations

import sys
from contextlib import suppress

import click
import msgspec

from llmos.apps.llmosctl import units
from llmos.apps.llmosctl.connection import connected, emit, tell
from llmos.apps.llmosctl.failures import ExitCode, Failed
from llmos.apps.llmosctl.options import Command, Options, pass_options
from llmos.apps.llmosctl.processes import CLASSES
from llmos.apps.llmosctl.sampling import SamplingChoice, grammar_options, sampling_options
from llmos.syscalls.abi.errors import Error
from llmos.syscalls.abi.messages import Generated
from llmos.syscalls.abi.words import FinishReason
from llmos.syscalls.sdk.blocking import Process
from llmos.syscalls.sdk.blocking_generation import Generation


@click.command(cls=Command)
@click.argument("prompt", required=False)
@click.option("--model", help="Which model; by default the first that the daemon runs.")
@click.option("--name", help="Name of the process.")
@click.option("--priority", type=CLASSES, default="normal", show_default=True, help="Priority class.")
@click.option("--system", "system_message", help="The system message.")
@sampling_options
@grammar_options
@click.option("--keep", is_flag=True, help="Leave the process there; its pid goes to stderr.")
@click.option("--verbose", "-v", is_flag=True, help="Tell on stderr what it took.")
@pass_options
def run(
    options: Options,
    /,
    prompt: str | None,
    model: str | None,
    name: str | None,
    priority: str,
    system_message: str | None,
    keep: bool,
    verbose: bool,
    **sampling: object,
) -> None:
    """Run one prompt (`-` or none: from stdin) and print the answer as it comes."""
    text = read_prompt(prompt)
    choice = SamplingChoice.of(sampling)
    with connected(options) as system:
        process = system.spawn(model=model, name=name, priority=priority, system=system_message)
        try:
            process.append([{"role": "user", "content": text}])
            generation = process.generate(**choice.arguments())
            done = show_stream(generation, quiet=options.json)
        finally:
            leave(process, keep)
    if options.json:
        emit(options, {"pid": process.pid, **msgspec.to_builtins(done)}, ())
    if verbose:
        tell(usage_line(process.pid, done))
    if done.finish_reason is FinishReason.LENGTH and (choice.schema is not None or choice.regex is not None):
        tell(f"the answer was cut after {len(done.token_ids)} tokens and is not complete; --max-tokens allows more")
    check_end(done)


def read_prompt(prompt: str | None) -> str:
    """The prompt: the argument, or what stdin holds. Raises `UsageError` when that is nothing."""
    if prompt is None and sys.stdin.isatty():
        raise click.UsageError("no prompt; give one, or - to read it from stdin")
    text = sys.stdin.read() if prompt is None or prompt == "-" else prompt
    if not text.strip():
        raise click.UsageError("the prompt is empty")
    return text


def show_stream(generation: Generation, quiet: bool = False) -> Generated:
    """Print the text as it comes and return the whole. Ctrl-C cancels the generation and raises."""
    try:
        for chunk in generation:
            if not quiet:
                click.echo(chunk.text, nl=False)
    finally:
        if not quiet:
            click.echo()
        generation.close()
    return generation.result()


def usage_line(pid: int, done: Generated) -> str:
    """What a generation took, in one line."""
    usage = done.usage
    rate = usage.generated_tokens / usage.seconds if usage.seconds > 0 else 0.0
    return (
        f"process {pid}: {usage.generated_tokens} tokens in {units.duration(usage.seconds)} ({rate:.1f} tokens/s), "
        f"the first after {units.duration(usage.first_token_seconds)}; "
        f"{usage.prompt_tokens} before it, {usage.cached_tokens} of them cached; ended by {done.finish_reason.value}"
    )


def check_end(done: Generated) -> None:
    """Raise `Failed` for a generation that was ended from outside."""
    match done.finish_reason:
        case FinishReason.STOP | FinishReason.LENGTH:
            return
        case FinishReason.LIMIT:
            raise Failed(f"a limit ended the generation: {done.detail}", "llmosctl limit PID KEY=VALUE changes limits")
        case FinishReason.CANCELLED:
            raise Failed("the generation was cancelled", code=ExitCode.INTERRUPTED)
        case FinishReason.KILLED:
            raise Failed(f"the process was killed while it generated {done.detail}".strip())


def leave(process: Process, keep: bool) -> None:
    """End and reap a process, or keep it and tell its pid."""
    if keep:
        tell(f"process {process.pid} stays")
        return
    # It may have exited, which leaves it to be reaped, or daemon and process may be gone altogether.
    with suppress(Error):
        process.kill()
    with suppress(Error):
        process.wait()
