"""The options that say how tokens are chosen, for every command that generates."""

from __future__ import annotations

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
        )


def sampling_options(command: Decorated) -> Decorated:
    """Add the options to a command, which gets them as `SamplingChoice.of` takes them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
