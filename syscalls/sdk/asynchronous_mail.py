"""The SDK's namespace `messages`, for asyncio programs.

Rules: a message is acknowledged when it has been handed over, unless that is asked to be done by hand; a receive whose
task is cancelled loses nothing, for what the kernel had given out by then comes again when its lease is over.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import overload

from llmos.syscalls.abi import mail
from llmos.syscalls.sdk import mail_requests as requests
from llmos.syscalls.sdk.asynchronous_call import perform
from llmos.syscalls.sdk.asynchronous_generation import LoopInbox
from llmos.syscalls.sdk.connection import Connection
from llmos.syscalls.sdk.mail_requests import LEASE, Choice, Letter
from llmos.syscalls.sdk.mail_stream import TopicStream


@dataclass(frozen=True, slots=True)
class AsyncMessage(Letter):
    """A message that was received: `.body .pid .sender .principal .id .tag .topic .number .deliveries`."""

    connection: Connection | None = field(default=None, repr=False, compare=False)
    scope: int | None = field(default=None, repr=False, compare=False)

    async def acknowledge(self) -> None:
        """Be done with it; until then it comes again when its lease is over."""
        await self._settle(again=False)

    async def give_back(self) -> None:
        """Let it be taken anew, at once."""
        await self._settle(again=True)

    async def _settle(self, again: bool) -> None:
        if self.connection is not None:
            await perform(self.connection, requests.acknowledge((self.number,), self.scope, again))


class AsyncSubscription:
    """Iterate with `async for` over what is published from now on. One task reads it; close it at the end."""

    def __init__(self, connection: Connection, topic: str) -> None:
        self._connection = connection
        self._events = LoopInbox()
        self._stream = TopicStream()
        invocation = requests.subscribe(topic, None)
        self._id = connection.start(invocation.call, invocation.request, self._events)
        self._abandon = connection.abandon_with(self, self._id)

    def __aiter__(self) -> AsyncIterator[Letter]:
        return self

    async def __anext__(self) -> Letter:
        if self._stream.finished:
            raise StopAsyncIteration
        letter = self._stream.accept(await self._events.get())
        if letter is None:
            raise StopAsyncIteration
        if credit := self._stream.window.consume():
            self._connection.credit(self._id, credit)
        return letter

    async def aclose(self) -> None:
        """Hear no more."""
        self._abandon()

    async def __aenter__(self) -> AsyncSubscription:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class AsyncMessages:
    """Messages between processes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def send(
        self,
        pid: int,
        body: object,
        id: str | None = None,
        tag: str | None = None,
        sender: int | None = None,
        timeout: float | None = None,
    ) -> int:
        """Put a message into the mailbox of a process; gives its number when it is on the disk.

        With the same `id` it can be sent again and is there once. `sender`: a process of one's own, for which it is
        sent. A full mailbox raises `TryAgain`, or with a timeout `TimedOut` when there was no room within so long.
        """
        return (await perform(self._connection, requests.send(pid, body, id, tag, sender, timeout))).number

    async def receive(
        self,
        timeout: float | None = None,
        pid: int | None = None,
        sender: int | None = None,
        tag: str | None = None,
        topic: str | None = None,
        lease: float = LEASE,
        acknowledge: bool = True,
        dead: bool = False,
    ) -> AsyncMessage:
        """Wait for a message for the process `pid`, or for any of one's own, oldest first. Raises `TimedOut`.

        `sender`, `tag` and `topic` choose. It is acknowledged when this returns; with `acknowledge=False` it comes
        again after `lease` seconds unless `message.acknowledge()` was called. `dead` receives dead letters.
        """
        return (await self.receive_many(1, timeout, pid, sender, tag, topic, lease, acknowledge, dead))[0]

    async def receive_many(
        self,
        count: int,
        timeout: float | None = None,
        pid: int | None = None,
        sender: int | None = None,
        tag: str | None = None,
        topic: str | None = None,
        lease: float = LEASE,
        acknowledge: bool = True,
        dead: bool = False,
    ) -> Sequence[AsyncMessage]:
        """As `receive`: so many messages at most, one at least."""
        choice = Choice(pid, timeout, sender, tag, topic, lease, dead)
        letters = await perform(self._connection, requests.receive(choice, count))
        messages = [message_of(letter, self._connection, pid) for letter in letters]
        if acknowledge:
            done = requests.acknowledge(tuple(message.number for message in messages), pid, again=False)
            self._connection.tell(done.call, done.request)
        return messages

    async def publish(self, topic: str, body: object, id: str | None = None, sender: int | None = None) -> int:
        """Send to all who have subscribed to `NAME`, `OWNER/NAME` or `@TENANT/NAME`; gives how many they are."""
        return await perform(self._connection, requests.publish(topic, body, id, sender))

    @overload
    def subscribe(self, topic: str) -> AsyncSubscription: ...
    @overload
    def subscribe(self, topic: str, pid: int) -> Coroutine[None, None, None]: ...
    def subscribe(self, topic: str, pid: int | None = None) -> AsyncSubscription | Coroutine[None, None, None]:
        """Iterate over what is published from now on; with `pid` let it come into a mailbox, until `unsubscribe`.

        The first is not awaited: it begins at once, and is read with `async for`.
        """
        if pid is None:
            return AsyncSubscription(self._connection, topic)
        return perform(self._connection, requests.subscribe(topic, pid))

    async def unsubscribe(self, topic: str, pid: int) -> None:
        """Let nothing more of a topic come into a mailbox."""
        await perform(self._connection, requests.unsubscribe(topic, pid))

    async def mailbox(self, pid: int) -> mail.MailboxInfo:
        """How full it is: `.waiting .taken .dead .bytes .topics`."""
        return await perform(self._connection, requests.mailbox(pid))


def message_of(letter: Letter, connection: Connection, scope: int | None) -> AsyncMessage:
    """A message that can be acknowledged over this connection."""
    return AsyncMessage(
        letter.number,
        letter.pid,
        letter.body,
        letter.principal,
        letter.sent,
        letter.deliveries,
        letter.id,
        letter.tag,
        letter.sender,
        letter.topic,
        letter.dead,
        connection,
        scope,
    )
