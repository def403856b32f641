"""The options that say how tokens are chosen, for every command that generates."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import TypeVar

import click
import msgspec

from llmos.syscalls.abi.words import Record
from llmos.syscalls.sdk.requests import SamplingOptions

Decorated = TypeVar("Decorated", bound=Callable[..., object])

_OPTIONS = (
    click.option("--max-tokens", type=click.IntRange(min=1), default=256, show_default=True, help="Most tokens."),
    click.option("--temperature", type=click.FloatRange(0, 100), default=0.0, show_default=True, help="0 is greedy."),
    click.option("--top-k", type=click.IntRange(min=1), help="Choose among so many tokens."),
    click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), help="Choose among this much probability."),
    click.option("--min-p", type=click.FloatRange(0, 1), help="Least probability, relative to the likeliest."),
    click.option("--seed", type=int, help="Makes the choice repeatable."),
    click.option("--stop", multiple=True, help="End where this text appears; may be repeated."),
)


class SamplingChoice(Record, frozen=True):
    """What the options said."""

    max_tokens: int
    temperature: float
    top_k: int | None
    top_p: float | None
    min_p: float | None
    seed: int | None
    stop: tuple[str, ...]
    schema: str | None = None
    regex: str | None = None

    @classmethod
    def of(cls, parameters: Mapping[str, object]) -> SamplingChoice:
        """From a command's parameters."""
        return msgspec.convert(parameters, cls)

    def arguments(self) -> SamplingOptions:
        """As the SDK's `generate` takes them."""
        return SamplingOptions(
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            seed=self.seed,
            stop=self.stop,
            schema=self.schema,
            regex=self.regex,
        )


def _read_schema(context: click.Context, option: click.Parameter, file: io.TextIOWrapper | None) -> str | None:
    try:
        return file.read() if file is not None else None
    except UnicodeDecodeError:
        raise click.BadParameter("the file is no text", context, option) from None


_GRAMMARS = (
    click.option(
        "--schema",
        type=click.File(encoding="utf-8"),
        callback=_read_schema,
        help="The answer is JSON as the JSON schema in this file says; - is stdin.",
    ),
    click.option("--regex", help="The answer matches this regular expression."),
)


def grammar_options(command: Decorated) -> Decorated:
    """Add the options that say what form an answer has."""
    for option in reversed(_GRAMMARS):
        command = option(command)
    return command


def sampling_options(command: Decorated) -> Decorated:
    """Add the options to a command, which gets them as `SamplingChoice.of` takes them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
