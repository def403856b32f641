"""From the common options to a connected SDK, and from results to output. Nothing here knows a single command."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from llmos.apps.llmosctl.failures import ExitCode, Failed
from llmos.apps.llmosctl.options import Options
from llmos.syscalls.abi.errors import NotFound, TryAgain
from llmos.syscalls.sdk.blocking import System, connect
from llmos.syscalls.wire.home import default_endpoint, default_key

IPC = "ipc://"


@contextmanager
def connected(options: Options) -> Iterator[System]:
    """A connection to the daemon. Raises `Failed` with `NO_DAEMON` when there is none."""
    endpoint = endpoint_of(options)
    if is_local(endpoint) and not Path(endpoint.removeprefix(IPC)).exists():
        raise Failed(f"no daemon runs at {endpoint}", "llmosctl up", ExitCode.NO_DAEMON)
    try:
        system = connect(endpoint, key_of(options))
    except TryAgain as error:
        raise Failed(error.message, error.hint, ExitCode.NO_DAEMON) from None
    except NotFound as error:
        raise Failed(error.message, error.hint, ExitCode.PERMISSION) from None
    with system:
        yield system


def endpoint_of(options: Options) -> str:
    """Where the daemon should listen: a home that was named beats `LLMOS_ENDPOINT`."""
    return default_endpoint(options.home if options.home_named else None)


def is_local(endpoint: str) -> bool:
    """Whether an endpoint is a socket in the file system of this machine."""
    return endpoint.startswith(IPC)


def emit(options: Options, data: object, lines: Iterable[str]) -> None:
    """Print a result on stdout: `data` as JSON, or else the lines."""
    if options.json:
        click.echo(json.dumps(msgspec.to_builtins(data), indent=2))
    else:
        for line in lines:
            click.echo(line)


def tell(text: str) -> None:
    """Tell the user something that is no data."""
    click.echo(text, err=True)


def key_of(options: Options) -> Path:
    """The key file: a home that was named beats the default one, `LLMOS_KEY` both."""
    if options.home_named and not os.environ.get("LLMOS_KEY"):
        return default_key(options.home)
    return default_key()
