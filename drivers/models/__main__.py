"""`python -m llmos.drivers.models pull|list|remove`: the model store as a program.

Data on stdout, all else on stderr. Exit status: 0 done, 1 an error (with a `hint:` line where there is a
remedy), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from llmos.drivers.models.catalogue import CATALOGUE, CatalogueEntry
from llmos.drivers.models.location import models_directory
from llmos.drivers.models.progress import TerminalReporter
from llmos.drivers.models.pull import pull
from llmos.drivers.models.store import ModelStore, ResolvedModel
from llmos.syscalls.abi.errors import Error

INTERRUPTED = 130


def _options(command: Callable[..., None]) -> Callable[..., None]:
    home = click.option("--home", type=click.Path(path_type=Path), help="Home directory of the daemon.")
    as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    return home(as_json(command))


@click.group(help="Get, list and remove models.")
def program() -> None:
    """The group of commands."""


@program.command("pull", help="Download or convert a model: a name, a directory or a GGUF file.")
@click.argument("reference")
@_options
def pull_command(reference: str, home: Path | None, as_json: bool) -> None:
    """Pull one model, and print where it is."""
    model = pull(_store(home), reference, TerminalReporter(Console(stderr=True)))
    click.echo(json.dumps(_fields(model)) if as_json else f"{model.name}  {model.directory}")


@program.command("list", help="List the models that are ready.")
@_options
def list_command(home: Path | None, as_json: bool) -> None:
    """List models; those that could be pulled are named too."""
    models = _store(home).models()
    waiting = [entry for name, entry in CATALOGUE.items() if all(model.name != name for model in models)]
    if as_json:
        available = [_catalogue_fields(entry) for entry in waiting]
        click.echo(json.dumps({"models": [_fields(model) for model in models], "available": available}))
        return
    if models:
        _print_table(models)
    for entry in waiting:
        click.echo(f"not pulled: {entry.name} ({entry.description}); llmosctl model pull {entry.name}", err=True)


@program.command("remove", help="Forget a model, and delete what was converted for it.")
@click.argument("reference")
@_options
def remove_command(reference: str, home: Path | None, as_json: bool) -> None:
    """Remove one model."""
    entry = _store(home).remove(reference)
    click.echo(json.dumps({"name": entry.name, "source": entry.source}) if as_json else f"removed {entry.name}")


def _store(home: Path | None) -> ModelStore:
    return ModelStore(models_directory(home, os.environ))


def _fields(model: ResolvedModel) -> dict[str, str | int]:
    return {
        "name": model.name,
        "kind": model.kind,
        "source": model.source,
        "size": model.size,
        "sha256": model.sha256,
        "fingerprint": model.fingerprint,
        "directory": str(model.directory),
    }


def _catalogue_fields(entry: CatalogueEntry) -> dict[str, str | int]:
    return {
        "name": entry.name,
        "source": entry.requirement,
        "download": entry.download_bytes,
        "sha256": entry.sha256,
        "licence": entry.licence,
        "description": entry.description,
    }


def _print_table(models: tuple[ResolvedModel, ...]) -> None:
    table = Table("NAME", "SIZE", "SHA256", "SOURCE", "DIRECTORY", box=None, pad_edge=False)
    for model in models:
        table.add_row(model.name, f"{model.size >> 20} MiB", model.sha256[:12], model.source, str(model.directory))
    # A path that is folded cannot be copied, so the table is as wide as it needs to be.
    Console(width=max(80, *(len(str(model.directory)) + len(model.source) + 80 for model in models))).print(table)


def main() -> int:
    """Run a command, and turn errors into messages and an exit status."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        program(prog_name="llmosctl model", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; what was finished is kept, the next pull goes on from there", err=True)
        return INTERRUPTED
    except Error as error:
        return _fail(str(error), error.hint)
    except OSError as error:
        return _fail(str(error), "")
    return 0


def _fail(message: str, hint: str) -> int:
    click.echo(f"error: {message}", err=True)
    if hint:
        click.echo(f"hint: {hint}", err=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
