"""One call in progress, as the handler that performs it sees it.

It does not know sockets, clients or what the call does: frames leave through the functions it was made
with.

Rules:

- A call has exactly one answer. The handler gives it with `reply` or `fail`; answering twice is a kernel
  bug and raises.
- A call may end before its answer: `Ending` says why. The handler's `on_end` callback then runs once,
  undoes the work, and may still answer when somebody listens; if it has not when it returns, the channel
  answers for it. After that nothing leaves any more, and late answers and events of the handler vanish
  without harm.
- An event costs one credit; an event without credit is a kernel bug and raises. `ready` says whether there
  is one.
- Callbacks run inside the loop's thread, never inside `on_end` or `on_credit` themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from itertools import count
from typing import Protocol

from llmos.syscalls.abi.errors import Cancelled, Error, TimedOut, TryAgain
from llmos.syscalls.abi.words import Record
from llmos.syscalls.wire.frames import MAX_CREDIT


class Ending(Enum):
    """Why a call ended before its handler answered."""

    CANCELLED = "cancelled"
    TIMED_OUT = "timed out"
    GONE = "gone"
    """The client left or stopped reading: no answer can reach it."""
    CLOSING = "closing"
    """The gate closes; an answer still gets out."""


class Outlet(Protocol):
    """Where the frames of one call leave."""

    def reply(self, record: Record) -> None:
        """Send the answer; the call is over."""
        ...

    def fail(self, error: Error) -> None:
        """Send the failure; the call is over."""
        ...

    def event(self, record: Record) -> None:
        """Send one event."""
        ...


class Bond:
    """What ends with a connection, beyond its calls."""

    __slots__ = ("_callbacks", "_ended", "_marks")

    def __init__(self) -> None:
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._ended = False
        self._marks = count()

    def add(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Run `callback` when the connection ends; at once if it has. Returns how to take that back."""
        if self._ended:
            callback()
            return lambda: None
        mark = next(self._marks)
        self._callbacks[mark] = callback
        return lambda: self._forget(mark)

    def end(self) -> None:
        """The connection has ended. May be called twice."""
        self._ended = True
        callbacks, self._callbacks = self._callbacks, {}
        for callback in callbacks.values():
            callback()

    def _forget(self, mark: int) -> None:
        self._callbacks.pop(mark, None)


class Channel:
    """The handler's end of one call. `bond` is what a handler may tie to the connection that the call came over."""

    __slots__ = ("_answered", "_credit", "_deaf", "_ending", "_on_credit", "_on_end", "_outlet", "bond")

    def __init__(self, outlet: Outlet, credit: int = 0, bond: Bond | None = None) -> None:
        self.bond = bond or Bond()
        self._outlet = outlet
        self._credit = credit
        self._answered = False
        self._ending: Ending | None = None
        self._deaf = False
        self._on_end: Callable[[Ending], None] | None = None
        self._on_credit: Callable[[], None] | None = None

    # --- for the handler

    @property
    def credit(self) -> int:
        """How many events may be sent now."""
        return 0 if self.over else self._credit

    @property
    def ready(self) -> bool:
        """Whether an event may be sent now."""
        return self.credit > 0

    @property
    def over(self) -> bool:
        """Whether the call was answered or nobody listens any more."""
        return self._answered or self._deaf

    def reply(self, record: Record) -> None:
        """Answer the call."""
        if self._answers():
            self._outlet.reply(record)

    def fail(self, error: Error) -> None:
        """Answer the call with an error."""
        if self._answers():
            self._outlet.fail(error)

    def event(self, record: Record) -> None:
        """Send one event of the stream; costs one credit."""
        if self._deaf:
            return
        if self._answered:
            raise RuntimeError("an event after the answer of its call")
        if self._credit <= 0:
            raise RuntimeError("an event without credit")
        self._credit -= 1
        self._outlet.event(record)

    def on_end(self, callback: Callable[[Ending], None]) -> None:
        """Run `callback` once if the call ends before the handler answers; at once if it already has."""
        if self._ending is not None:
            callback(self._ending)
        else:
            self._on_end = callback

    def on_credit(self, callback: Callable[[], None]) -> None:
        """Run `callback` each time the client allows more events."""
        self._on_credit = callback

    # --- for the gate

    def grant(self, credit: int) -> None:
        """The client allows `credit` more events; beyond `MAX_CREDIT` unused ones it gains nothing."""
        if self.over:
            return
        self._credit = min(self._credit + credit, MAX_CREDIT)
        if self._on_credit is not None:
            self._on_credit()

    def end(self, ending: Ending) -> None:
        """End the call for a reason of the gate's; does nothing when it is over."""
        if self.over or self._ending is not None:
            return
        self._ending = ending
        self._deaf = ending is Ending.GONE
        self._tell(ending)
        if not self._answered and not self._deaf:
            self._answered = True
            self._outlet.fail(_error_of(ending))
        self._deaf = True

    def _tell(self, ending: Ending) -> None:
        callback, self._on_end, self._on_credit = self._on_end, None, None
        if callback is not None:
            callback(ending)

    def _answers(self) -> bool:
        """Whether an answer given now leaves; marks the call answered."""
        if self._deaf:
            return False
        if self._answered:
            raise RuntimeError("a second answer to one call")
        self._answered = True
        self._on_end = self._on_credit = None
        return True


def _error_of(ending: Ending) -> Error:
    match ending:
        case Ending.CANCELLED:
            return Cancelled("the call was cancelled")
        case Ending.TIMED_OUT:
            return TimedOut("the call took longer than its time-out")
        case Ending.GONE | Ending.CLOSING:
            return TryAgain("the daemon is shutting down", "call again when it is back")
