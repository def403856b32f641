"""Commands that an encoder answers: embed and classify."""

from __future__ import annotations

import click

from llmos.apps.llmosctl.connection import connected, emit, tell
from llmos.apps.llmosctl.options import Command, Options, pass_options
from llmos.syscalls.sdk.vectors import Classifications, Vectors

SHOWN = 4
"""Numbers of a vector that people see; `--json` has all."""

texts_argument = click.argument("texts", metavar="TEXT...", nargs=-1, required=True)


@click.command(cls=Command)
@texts_argument
@pass_options
def embed(options: Options, texts: tuple[str, ...]) -> None:
    """Make a vector of each text."""
    with connected(options) as system:
        vectors = system.embed(texts)
    _tell_cut(vectors.truncated)
    emit(options, {"model": vectors.model, "tokens": vectors.tokens, "vectors": list(vectors)}, vector_lines(vectors))


@click.command(cls=Command)
@texts_argument
@click.option("--labels", required=True, metavar="A,B...", help="The labels to choose from, with commas between them.")
@click.option("--template", metavar="TEXT", help="What a label, or with --score a text, becomes, with {} in its place.")
@click.option("--score", is_flag=True, help="By how likely the language model thinks each label, not by vectors.")
@pass_options
def classify(options: Options, texts: tuple[str, ...], labels: str, template: str | None, score: bool) -> None:
    """Say which of some labels fits each text."""
    named = tuple(label.strip() for label in labels.split(","))
    with connected(options) as system:
        found = system.classify(texts, named, template=template, method="score" if score else "vectors")
    _tell_cut(found.truncated)
    emit(options, list(found), classification_lines(found, named))


def vector_lines(vectors: Vectors) -> list[str]:
    """The beginning of each vector."""
    return [" ".join(f"{number: .4f}" for number in vector[:SHOWN]) + f" ... {len(vector)}" for vector in vectors]


def classification_lines(found: Classifications, labels: tuple[str, ...]) -> list[str]:
    """For each text its label, and the scores of all, best first."""
    lines = []
    for one in found:
        ranked = sorted(zip(one.scores, labels, strict=True), reverse=True)
        lines.append(f"{one.label}  ({', '.join(f'{label} {score:.2f}' for score, label in ranked)})")
    return lines


def _tell_cut(positions: tuple[int, ...]) -> None:
    if positions:
        tell(f"too long for the model, so only the beginning counts: text {', '.join(str(n + 1) for n in positions)}")


COMMANDS = (embed, classify)
