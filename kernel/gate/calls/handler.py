"""What a handler of a call is. Every one is given the membrane's `Authorized`.

By the time a handler runs its request is decoded, typed and authorised. It answers through the channel, at once or
later; an abi error that it raises is the caller's and becomes the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from llmos.kernel.core.authority import Authorized, NotAuthorized
from llmos.kernel.gate.channel import Channel
from llmos.syscalls.abi.words import Record

Handler = Callable[[Authorized, Record, Channel], None]
Request = TypeVar("Request", bound=Record)


def row(
    action: str, kind: type[Request], handler: Callable[[Authorized, Request, Channel], None]
) -> tuple[str, Handler]:
    """A call and its handler; whoever comes without the proof for just this call gets nothing done."""

    def checked(by: Authorized, request: Record, channel: Channel) -> None:
        if not isinstance(by, Authorized) or by.action != action:
            raise NotAuthorized(f"{action} with the proof {by!r}")
        if not isinstance(request, kind):
            raise TypeError(f"{action} got a {type(request).__name__}")
        handler(by, request, channel)

    return action, checked
