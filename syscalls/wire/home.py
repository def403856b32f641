"""Where a client finds the daemon and its own key.

It reads the environment and nothing else. Rules: what is given by name wins, then the environment, then the
home directory; the home directory is `LLMOS_HOME`, else `llmos` in the XDG data directory.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from llmos.syscalls.abi.errors import InvalidArgument

MAX_IPC_PATH = 107
"""Longest path of a Unix socket, in bytes, as on Linux."""


def home_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """The home directory of the daemon; it need not exist."""
    if named := environment.get("LLMOS_HOME"):
        return Path(named).expanduser()
    data = environment.get("XDG_DATA_HOME", "")
    # The XDG rules say that a relative path there is to be ignored.
    base = Path(data) if data.startswith("/") else Path.home() / ".local" / "share"
    return base / "llmos"


def default_endpoint(home: Path | None = None, environment: Mapping[str, str] = os.environ) -> str:
    """The endpoint to connect to: `LLMOS_ENDPOINT`, else the socket in `home`."""
    if home is None and (named := environment.get("LLMOS_ENDPOINT")):
        return named
    return socket_endpoint(home or home_directory(environment))


def default_key(home: Path | None = None, environment: Mapping[str, str] = os.environ) -> Path:
    """The key file to use: `LLMOS_KEY`, else the admin key in `home`."""
    if home is None and (named := environment.get("LLMOS_KEY")):
        return Path(named).expanduser()
    return (home or home_directory(environment)) / "keys" / "admin.key"


def socket_endpoint(home: Path) -> str:
    """The `ipc://` endpoint in a home directory. Raises `InvalidArgument` when the path is too long."""
    path = home.absolute() / "run" / "kernel.sock"
    if len(os.fsencode(path)) > MAX_IPC_PATH:
        raise InvalidArgument(
            f"the path of the socket, {path}, is longer than {MAX_IPC_PATH} bytes",
            "choose a shorter LLMOS_HOME",
        )
    return f"ipc://{path}"
