"""Makes one call and awaits its answer. A call whose task is cancelled is cancelled too."""

from __future__ import annotations

from typing import TypeVar

from llmos.syscalls.abi.words import Record
from llmos.syscalls.sdk.asynchronous_generation import LoopInbox
from llmos.syscalls.sdk.connection import Connection
from llmos.syscalls.sdk.requests import Invocation
from llmos.syscalls.sdk.undoing import IfInterrupted

Reply = TypeVar("Reply", bound=Record)
Result = TypeVar("Result")


async def perform(connection: Connection, invocation: Invocation[Reply, Result]) -> Result:
    """The result of a call; raises its error."""
    inbox = LoopInbox()
    id = connection.start(invocation.call, invocation.request, inbox, invocation.own_timeout)
    with IfInterrupted(lambda: connection.abandon(id)):
        event = await inbox.get()
    return invocation.result(event)
