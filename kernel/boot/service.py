"""What the daemon serves, as the daemon sees it: made from a `Boot`, started, asked to perform calls, closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from llmos.kernel.boot.home import Home, PidAllocator
from llmos.kernel.boot.security import Security
from llmos.kernel.boot.settings import Settings
from llmos.kernel.core.authority import Authorized
from llmos.kernel.gate.channel import Channel
from llmos.kernel.security.names import FilePath
from llmos.kernel.security.objects import Owner
from llmos.syscalls.abi.table import Call
from llmos.syscalls.abi.words import Pid, Record

EXIT_REFUSED = 69
"""Exit status of a daemon whose engine cannot serve its model (EX_UNAVAILABLE of sysexits.h)."""


@dataclass(frozen=True, slots=True)
class Boot:
    """What a service is made from.

    `stop` ends the daemon, in good order, with an exit status; `serving` tells whoever started it that calls are
    served.
    """

    loop: asyncio.AbstractEventLoop
    settings: Settings
    home: Home
    pids: PidAllocator
    version: str
    stop: Callable[[int], None]
    serving: Callable[[], None]


class Service(Protocol):
    """The kernel behind the gate."""

    def owner_of(self, pid: Pid) -> Owner | None:
        """Whose a process is; None when there is no such process."""
        ...

    def mailbox_of(self, pid: Pid) -> Owner | None:
        """Whose the mailbox of a process is, also of one that is gone; None when there can be none."""
        ...

    def file_of(self, descriptor: int) -> FilePath | None:
        """Which file is open under a descriptor; None when none is."""
        ...

    @property
    def default_model(self) -> str:
        """The model of a process that names none."""
        ...

    @property
    def default_encoder(self) -> str:
        """The encoder of a call that names none."""
        ...

    def begin(self, security: Security) -> None:
        """Start the engines; calls may come from now on."""
        ...

    def dispatch(self, authorized: Authorized, call: Call, request: Record, channel: Channel) -> None:
        """Begin a call. Raises abi errors."""
        ...

    def close(self) -> None:
        """Stop the engines and release everything. No call comes any more."""
        ...


Assemble = Callable[[Boot], Service]
"""Makes a service. Raises abi errors for what is wrong with the settings or the model."""
