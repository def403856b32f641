"""Makes one call and waits for its answer. A call that is interrupted is cancelled."""

from __future__ import annotations

from queue import SimpleQueue
from typing import TypeVar

from llmos.syscalls.abi.words import Record
from llmos.syscalls.sdk.connection import Connection
from llmos.syscalls.sdk.protocol import Event
from llmos.syscalls.sdk.requests import Invocation
from llmos.syscalls.sdk.undoing import IfInterrupted

Reply = TypeVar("Reply", bound=Record)
Result = TypeVar("Result")


def perform(connection: Connection, invocation: Invocation[Reply, Result]) -> Result:
    """The result of a call; raises its error."""
    inbox: SimpleQueue[Event] = SimpleQueue()
    id = connection.start(invocation.call, invocation.request, inbox, invocation.own_timeout)
    with IfInterrupted(lambda: connection.abandon(id)):
        event = inbox.get()
    return invocation.result(event)
