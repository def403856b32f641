"""What the blocking and the asynchronous serving of tools share: events of an offer, and how soon it is made again.

Pure. Rule: an offer that ends because the daemon went away is made again; one that ends because it may not be made is
the program's to know.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmos.syscalls.abi.errors import AlreadyExists, DeviceError, Error, TryAgain
from llmos.syscalls.abi.tools import ToolCalled
from llmos.syscalls.sdk.protocol import Window
from llmos.syscalls.sdk.tool_definitions import ToolCaller

WINDOW = 64
"""Events of an offer that may be under way or unread."""

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 5.0


@dataclass(slots=True, eq=False)
class Patience:
    """How long to wait before an offer is made again: longer each time, until it is taken."""

    _pause: float = _FIRST_PAUSE

    def taken(self) -> None:
        """The daemon has taken the offer."""
        self._pause = _FIRST_PAUSE

    def next(self) -> float:
        """Seconds to wait now."""
        pause = self._pause
        self._pause = min(2 * pause, _LONGEST_PAUSE)
        return pause


def can_come_back(error: Error) -> bool:
    """Whether an offer that was taken before is made again after this: the daemon, or its memory of us, went away."""
    return isinstance(error, DeviceError | TryAgain | AlreadyExists)


def new_window() -> Window:
    """The credit of an offer."""
    return Window(WINDOW)


def caller_of(called: ToolCalled) -> ToolCaller:
    """Who calls."""
    return ToolCaller(called.principal, called.tenant, called.role, called.pid)


def told(error: BaseException) -> str:
    """What a caller is told of a handler that failed."""
    text = str(error).encode("utf-8", "backslashreplace").decode()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
