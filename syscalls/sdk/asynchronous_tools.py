"""The SDK's namespace `tools`, for asyncio programs.

As the blocking one; a handler that is a coroutine function runs in the loop and is cancelled when nobody wants its
answer any more, any other runs in a thread.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar, assert_never

from llmos.syscalls.abi.errors import Error, NotFound
from llmos.syscalls.abi.tools import ToolCalled, ToolInfo
from llmos.syscalls.sdk import tool_requests as requests
from llmos.syscalls.sdk.asynchronous_call import perform
from llmos.syscalls.sdk.asynchronous_generation import LoopInbox
from llmos.syscalls.sdk.connection import Connection
from llmos.syscalls.sdk.protocol import Failed, Happened, Replied
from llmos.syscalls.sdk.tool_definitions import Definition, Function, Json, define, result_text
from llmos.syscalls.sdk.tool_serving import WINDOW, Patience, caller_of, can_come_back, new_window, told
from llmos.syscalls.sdk.undoing import IfInterrupted
from llmos.syscalls.wire.codec import decode_record

Given = TypeVar("Given", bound=Function)
Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class AsyncToolOffer:
    """A tool that is offered. `withdraw` takes it back."""

    definition: Definition
    _connection: Connection
    withdrawn: bool = False
    keeper: asyncio.Task[None] | None = None
    """What answers its calls."""
    _id: int = 0
    _inbox: LoopInbox = field(default_factory=LoopInbox)
    _patience: Patience = field(default_factory=Patience)
    _running: dict[int, asyncio.Task[str]] = field(default_factory=dict)
    _answering: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def name(self) -> str:
        """What it was offered as."""
        return self.definition.name

    def withdraw(self) -> None:
        """The tool is gone; calls that are under way fail."""
        self.withdrawn = True
        self._connection.abandon(self._id)
        self._end_calls()
        if self.keeper is not None:
            self.keeper.cancel()

    async def begin(self) -> None:
        """Ask the daemon to offer it; returns when it can be called. Raises why it cannot."""
        self._inbox = LoopInbox()
        request = requests.register_tool(self.definition, WINDOW)
        self._id = self._connection.start("tool.register", request, self._inbox)
        with IfInterrupted(lambda: self._connection.abandon(self._id)):
            event = await self._inbox.get()
        if isinstance(event, Failed):
            raise event.error
        self._patience.taken()

    async def keep(self) -> None:
        """Answer its calls, and offer it again when the daemon was away; ends when it may not be offered any more."""
        while not self.withdrawn:
            try:
                await self._answer_calls()
            except Error as error:
                if self.withdrawn or not can_come_back(error):
                    raise
                await self._come_back()

    async def _come_back(self) -> None:
        self._end_calls()
        while not self.withdrawn:
            await asyncio.sleep(self._patience.next())
            try:
                await self.begin()
            except Error as error:
                # The connection looks for the daemon by itself; closed, it says so at once and for good.
                if not can_come_back(error) or self._connection.closed:
                    raise
            else:
                return

    async def _answer_calls(self) -> None:
        window = new_window()
        while True:
            event = await self._inbox.get()
            match event:
                case Happened(raw):
                    self._take(decode_record(ToolCalled, raw))
                    if credit := window.consume():
                        self._connection.credit(self._id, credit)
                case Failed(error):
                    raise error
                case Replied():
                    return
                case _:
                    assert_never(event)

    def _take(self, called: ToolCalled) -> None:
        if called.cancelled:
            task = self._running.pop(called.id, None)
            if task is not None:
                task.cancel()
        elif not called.offered:
            task = asyncio.create_task(_handle(self.definition, called))
            self._running[called.id] = task
            task.add_done_callback(lambda task: self._done(called.id, task))

    def _done(self, id: int, task: asyncio.Task[str]) -> None:
        """Whatever a handler raises is its caller's to hear."""
        wanted = self._running.pop(id, None) is task
        error = failure_of(task)
        if wanted and not task.cancelling():
            answering = asyncio.create_task(self._answer(id, error, None if error is not None else task.result()))
            self._answering.add(answering)
            answering.add_done_callback(self._answering.discard)

    async def _answer(self, id: int, error: BaseException | None, result: str | None) -> None:
        why = None if error is None else told(error)
        try:
            await perform(self._connection, requests.answer_tool(self.name, id, result, why))
        except NotFound:
            pass  # its caller has left meanwhile
        except Error as refused:
            with suppress(Error):
                await perform(self._connection, requests.answer_tool(self.name, id, None, refused.message))

    def _end_calls(self) -> None:
        running, self._running = self._running, {}
        for task in running.values():
            task.cancel()


class AsyncTools:
    """Tools: those of others to call, and one's own to offer."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._offers: list[AsyncToolOffer] = []
        self._waiting: list[Definition] = []
        self._keeping: set[asyncio.Task[None]] = set()
        self._ended: asyncio.Queue[BaseException | None] | None = None

    async def list(self, names: Sequence[str] = ()) -> list[ToolInfo]:
        """The tools that one may call, or those of them with these names."""
        return await perform(self._connection, requests.list_tools(names))

    async def call(
        self,
        name: str,
        arguments: Mapping[str, object] | None = None,
        pid: int | None = None,
        timeout: float | None = None,
    ) -> Json:
        """Call a tool and wait for its result, a JSON value. `pid`: for that process, which waits meanwhile."""
        return await perform(self._connection, requests.call_tool(name, arguments, pid, timeout))

    async def register(
        self,
        tool: Function | str,
        description: str | None = None,
        schema: Mapping[str, object] | str | None = None,
        handler: Function | None = None,
        name: str | None = None,
        timeout: float = 60.0,
        at_once: int = 16,
    ) -> AsyncToolOffer:
        """Offer a function, or a name with a handler; it can be called from now on, and is answered by `serve`."""
        return await self._open(define(tool, description, schema, handler, name, timeout, at_once))

    def offer(self, function: Given) -> Given:
        """Decorator: offer this function as soon as `serve` runs; the function stays as it is."""
        self._waiting.append(define(function))
        if self._ended is not None:
            self._watch(asyncio.create_task(self._open_waiting()))
        return function

    async def serve(self) -> None:
        """Answer calls of everything that was registered, until `stop`; more can be registered meanwhile.

        Raises why an offer may not be made any more, or why the connection has ended.
        """
        self._ended = asyncio.Queue()
        try:
            for offer in self._offers:
                self._keep(offer)
            await self._open_waiting()
            error = await self._ended.get()
            if error is not None:
                raise error
        finally:
            await self._close()

    def stop(self) -> None:
        """End `serve`."""
        if self._ended is not None:
            self._ended.put_nowait(None)

    async def _open(self, definition: Definition) -> AsyncToolOffer:
        offer = AsyncToolOffer(definition, self._connection)
        await offer.begin()
        self._offers = [*(other for other in self._offers if not other.withdrawn), offer]
        if self._ended is not None:
            self._keep(offer)
        return offer

    async def _open_waiting(self) -> None:
        while self._waiting:
            await self._open(self._waiting.pop(0))

    def _keep(self, offer: AsyncToolOffer) -> None:
        offer.keeper = asyncio.create_task(offer.keep())
        self._watch(offer.keeper)

    def _watch(self, task: asyncio.Task[None]) -> None:
        """What ends it with an error ends `serve`."""
        self._keeping.add(task)
        task.add_done_callback(self._kept)

    def _kept(self, task: asyncio.Task[None]) -> None:
        self._keeping.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and self._ended is not None:
            self._ended.put_nowait(error)

    async def _close(self) -> None:
        self._ended = None
        for offer in self._offers:
            offer.withdraw()
        self._offers.clear()
        keeping = [*self._keeping]
        for task in keeping:
            task.cancel()
        await asyncio.gather(*keeping, return_exceptions=True)


def failure_of(task: asyncio.Task[Result]) -> BaseException | None:
    """What a handler's task that is done ended with; None when it has a result."""
    return asyncio.CancelledError() if task.cancelled() else task.exception()


async def _handle(definition: Definition, called: ToolCalled) -> str:
    keywords = definition.keywords(called.arguments, caller_of(called))
    if inspect.iscoroutinefunction(definition.function):
        return result_text(await definition.function(**keywords))
    return result_text(await asyncio.to_thread(definition.function, **keywords))
