"""What the gate remembers of one key over all its connections: how fast it calls, and how it behaves.

It does not know sockets. Rules: all connections of a key share its rate and its bounds, so that nothing is gained by
opening more of them; who is over its rate is told when to come back. A connection with too many strikes is not heard
for a while, and a key whose connections go on like that is not heard on any of them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from llmos.kernel.core.principal import Principal
from llmos.kernel.security.identity.registry import Identity


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one client and one key may take, and how often the gate looks after them. Seconds, bytes, messages."""

    calls: int = 1024
    """Open calls of one connection."""
    key_calls: int = 8192
    """Open calls of one key."""
    connections: int = 256
    """Connections of one key that have calls open or sent something lately."""
    rate: float = 50_000.0
    """Calls a second of one key, unless the key says otherwise; as many may come at once as fit into one second."""
    queued_messages: int = 256
    backlog_bytes: int = 8 << 20
    """What one client does not read."""
    key_backlog_bytes: int = 64 << 20
    """What all clients of one key do not read."""
    received_messages: int = 64
    strikes: int = 16
    """Of one connection in `strike_seconds`, before it is not heard for `ignored_seconds`."""
    key_strikes: int = 128
    """Of all connections of a key."""
    strike_seconds: float = 10.0
    ignored_seconds: float = 10.0
    ping_seconds: float = 2.0
    retry_seconds: float = 0.005


@dataclass(slots=True, eq=False)
class Strikes:
    """The misdeeds of a connection or a key."""

    times: deque[float] = field(default_factory=deque)
    ignored_until: float = 0.0

    def add(self, now: float, most: int, bounds: Bounds) -> bool:
        """Count one; True when it was one too many in a while, and nothing is heard from now on."""
        self.times.append(now)
        while self.times[0] < now - bounds.strike_seconds:
            self.times.popleft()
        if len(self.times) < most:
            return False
        self.times.clear()
        self.ignored_until = now + bounds.ignored_seconds
        return True

    def forgotten(self, now: float, bounds: Bounds) -> bool:
        """Whether they matter no more."""
        return self.ignored_until < now and (not self.times or self.times[-1] < now - bounds.strike_seconds)


@dataclass(slots=True, eq=False)
class Account:
    """One key at the gate. Written by the gate only."""

    identity: Identity
    rate: float
    principal: Principal = field(init=False)
    allowance: float = field(init=False)
    """Calls that may come now."""
    counted_at: float = 0.0
    connections: int = 0
    calls: int = 0
    backlog_bytes: int = 0
    strikes: Strikes = field(default_factory=Strikes)

    def __post_init__(self) -> None:
        self.principal = self.identity.principal
        self.allowance = self.rate

    def wait_for_turn(self, now: float) -> float:
        """Count one call; how many seconds too early it comes, 0.0 if it does not."""
        if now != self.counted_at:
            self.allowance = min(self.rate, self.allowance + (now - self.counted_at) * self.rate)
            self.counted_at = now
        if self.allowance < 1.0:
            return (1.0 - self.allowance) / self.rate
        self.allowance -= 1.0
        return 0.0

    def idle(self, now: float, bounds: Bounds) -> bool:
        """Whether nothing would be lost by forgetting it."""
        full = self.allowance + (now - self.counted_at) * self.rate >= self.rate
        return not self.connections and full and self.strikes.forgotten(now, bounds)
