"""Whether the daemon is there: what the socket's monitor reports, turned into a state and the right error.

Pure: reports and `now` come in. It does not know sockets. Rules: nobody at the endpoint is given up soon, a
daemon that is busy shaking hands is waited for longer; a refused key is final.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from llmos.syscalls.abi.errors import Error, PermissionDenied, TryAgain

NOBODY_SECONDS = 1.0
"""How long a connection looks for a daemon."""

HANDSHAKE_SECONDS = 10.0
"""How long a daemon that accepted the connection may take to check the key."""

_BROKEN_HANDSHAKES = 3
"""So many in a row are no accident: the daemon does not have the key that the key file says it has."""


class Report(Enum):
    """What a socket's monitor can say that matters here."""

    CONNECTED = "connected"
    ACCEPTED = "handshake succeeded"
    KEY_REFUSED = "handshake refused the key"
    NO_CURVE = "handshake failed: not the same security"
    HANDSHAKE_BROKEN = "handshake broke off"
    DISCONNECTED = "disconnected"


class LinkState(Enum):
    """`LOST` is a link that was up; it begins anew with a new socket."""

    SEEKING = "seeking"
    GREETING = "greeting"
    UP = "up"
    LOST = "lost"
    REFUSED = "refused"


@dataclass(slots=True, eq=False)
class Link:
    """The state of the connection of one socket."""

    endpoint: str
    key_name: str
    give_up_at: float
    """When to stop waiting, unless it is up by then."""
    state: LinkState = LinkState.SEEKING
    wrong_server: bool = False
    """What answers has another key than the key file says."""
    refusal: Error | None = None
    _broken: int = 0

    def observe(self, report: Report, now: float) -> None:
        """Take one report of the monitor."""
        if self.state is LinkState.REFUSED:
            return
        match report:
            case Report.CONNECTED:
                self.state = LinkState.GREETING
                if not self._broken:
                    self.give_up_at = max(self.give_up_at, now + HANDSHAKE_SECONDS)
            case Report.ACCEPTED:
                self.state = LinkState.UP
            case Report.KEY_REFUSED:
                self._refuse(f"the daemon at {self.endpoint} does not accept the key {self.key_name!r}")
            case Report.NO_CURVE:
                self._refuse(f"what listens at {self.endpoint} does not speak CURVE as llmos does")
            case Report.HANDSHAKE_BROKEN:
                self._handshake_broke(now)
            case Report.DISCONNECTED:
                self._disconnected()

    def wait_again(self, now: float) -> None:
        """Somebody waits for the link again, after a time when nobody did."""
        self.give_up_at = now + (HANDSHAKE_SECONDS if self.state is LinkState.GREETING else NOBODY_SECONDS)

    def absence(self) -> TryAgain:
        """The error of a call that found no daemon."""
        if self.state is LinkState.GREETING:
            return TryAgain(f"the daemon at {self.endpoint} does not answer", "llmosctl doctor says more")
        return TryAgain(f"no daemon answers at {self.endpoint}", "llmosctl up")

    def _handshake_broke(self, now: float) -> None:
        self._broken += 1
        self.give_up_at = min(self.give_up_at, now + NOBODY_SECONDS)
        if self._broken >= _BROKEN_HANDSHAKES:
            self.wrong_server = True
            self._refuse(f"the daemon at {self.endpoint} is not the one that the key {self.key_name!r} is for")

    def _disconnected(self) -> None:
        if self.state is LinkState.UP:
            self.state = LinkState.LOST
        elif self.state is LinkState.GREETING:
            self.state = LinkState.SEEKING

    def _refuse(self, message: str) -> None:
        self.state = LinkState.REFUSED
        hint = "LLMOS_KEY names the key file; llmosctl key create makes a key"
        self.refusal = PermissionDenied(message, hint)
