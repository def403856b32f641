"""`llmosctl model`: the model store, which is a program of its own. What it prints and how it ends is passed on."""

from __future__ import annotations

import subprocess
import sys

import click

from llmos.apps.llmosctl.options import Command, Group, Options, pass_options

STORE = "llmos.drivers.models"


@click.group(cls=Group)
def model() -> None:
    """Get, list and remove models."""


@model.command(cls=Command)
@click.argument("reference", metavar="REF", default="smollm2:135m")
@pass_options
def pull(options: Options, reference: str) -> None:
    """Get a model: a name (smollm2:135m when none is given, minilm:l6-v2 for embed), a directory or a GGUF file."""
    _run_store(options, "pull", reference)


@model.command("list", cls=Command)
@pass_options
def list_models(options: Options) -> None:
    """List the models that are ready, and those that could be pulled."""
    _run_store(options, "list")


@model.command(cls=Command)
@click.argument("reference", metavar="REF")
@pass_options
def remove(options: Options, reference: str) -> None:
    """Forget a model and delete its files here."""
    _run_store(options, "remove", reference)


def store_command(options: Options, *arguments: str) -> list[str]:
    """The command line that runs the model store."""
    return [sys.executable, "-m", STORE, *arguments, "--home", str(options.home)]


def _run_store(options: Options, *arguments: str) -> None:
    command = store_command(options, *arguments) + (["--json"] if options.json else [])
    status = subprocess.run(command, check=False).returncode
    if status != 0:
        raise click.exceptions.Exit(status)
