"""How metadata and conditions on it are typed: `KEY=VALUE`, `KEY>=VALUE`. Knows no command.

Rule: what reads as JSON is that (`7`, `1.5`, `true`, `"7"`); everything else is a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import click
import msgspec

from llmos.syscalls.abi.memory import Scalar

_SCALARS: msgspec.json.Decoder[Scalar] = msgspec.json.Decoder(Scalar)
_GIVEN = re.compile(r"([^=<>!]+)(!=|<=|>=|=|<|>)(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Given:
    """A key, a comparison and a value."""

    key: str
    comparison: str
    value: Scalar


class Comparing(click.ParamType):  # type: ignore[type-arg] # older versions of click know no argument
    """`KEY=VALUE`, or with another comparison."""

    name = "condition"

    def convert(self, value: str | Given, param: click.Parameter | None, ctx: click.Context | None) -> Given:
        """Read it; leaves with a usage error."""
        if isinstance(value, Given):
            return value
        found = _GIVEN.fullmatch(value)
        if found is None:
            self.fail(f"{value!r} is no KEY=VALUE", param, ctx)
        return Given(found[1].strip(), found[2], _scalar(found[3]))


class Metadata(Comparing):
    """`KEY=VALUE` alone."""

    name = "metadata"

    def convert(self, value: str | Given, param: click.Parameter | None, ctx: click.Context | None) -> Given:
        """Read it; leaves with a usage error."""
        given = super().convert(value, param, ctx)
        if given.comparison != "=":
            self.fail(f"metadata is KEY=VALUE, not KEY{given.comparison}VALUE", param, ctx)
        return given


def metadata_of(given: Iterable[Given]) -> dict[str, Scalar]:
    """Metadata; the last of a key counts."""
    return {one.key: one.value for one in given}


def conditions(given: Iterable[Given]) -> dict[str, list[tuple[str, Scalar]]]:
    """Conditions as the SDK takes them; all must hold."""
    found: dict[str, list[tuple[str, Scalar]]] = {}
    for one in given:
        found.setdefault(one.key, []).append((one.comparison, one.value))
    return found


def _scalar(words: str) -> Scalar:
    try:
        return _SCALARS.decode(words)
    except msgspec.MsgspecError:
        return words
