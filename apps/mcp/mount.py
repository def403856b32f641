"""A server of the Model Context Protocol mounted: its tools are offered here as `NAME.TOOL`, and their calls forwarded.

The server is a program that is started here, with the caller's rights and without its key, or a URL. Rules: the tools
follow the server's list; one that llmos does not take is left out and told on stderr; the mount ends when the server,
the daemon or its user ends it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import anyio
import httpx2
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from mcp.shared._stream_protocols import ReadStream, WriteStream
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage
from mcp_types import ServerNotification, Tool, ToolListChangedNotification

from llmos.apps.mcp.translation import mounted_name, mounted_schema, result_of
from llmos.syscalls.abi.errors import AlreadyExists, Error, InvalidArgument, LimitExceeded
from llmos.syscalls.sdk.asynchronous import AsyncSystem, aconnect
from llmos.syscalls.sdk.asynchronous_tools import AsyncToolOffer
from llmos.syscalls.sdk.tool_definitions import Json

CALL_SECONDS = 300.0
"""The longest that a server may take for a call."""

MOST_PAGES = 100


class Unreachable(Exception):
    """The server cannot be started or reached, or went away."""


async def mount(name: str, server: str | tuple[str, ...]) -> None:
    """Offer the tools of a server, a URL or a command line, until either side ends."""
    changed, ended = asyncio.Event(), asyncio.Event()

    async def heard(message: ServerNotification | Exception) -> None:
        if isinstance(message, ToolListChangedNotification):
            changed.set()

    target = server if isinstance(server, str) else _noticing(_parameters(server), ended)
    async with AsyncExitStack() as stack:
        system = await stack.enter_async_context(aconnect())
        try:
            client = await stack.enter_async_context(Client(target, message_handler=heard, cache=None))
            await _Mount(name, client, system).run(changed, ended)
        except (MCPError, OSError, httpx2.HTTPError) as error:
            raise _unreachable(server, error) from error
        except ExceptionGroup as group:
            # Ours, if one of them is; the server's otherwise.
            raise _ours(group) or _unreachable(server, _first(group)) from group


@dataclass(slots=True, eq=False)
class _Mount:
    """What is offered of one server."""

    name: str
    client: Client
    system: AsyncSystem
    offers: dict[str, tuple[Tool, AsyncToolOffer]] = field(default_factory=dict)

    async def run(self, changed: asyncio.Event, ended: asyncio.Event) -> None:
        serving = asyncio.create_task(self.system.tools.serve())
        following = asyncio.create_task(self._follow(changed))
        try:
            await self._bring_up_to_date()
            print(f"{len(self.offers)} tools of {self.name} are offered", file=sys.stderr, flush=True)
            waiting = asyncio.create_task(self._keep_up_to_date(changed))
            gone = asyncio.create_task(ended.wait())
            work = {serving, following, waiting, gone}
            try:
                done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                waiting.cancel()
                gone.cancel()
        finally:
            serving.cancel()
            following.cancel()
            await asyncio.gather(serving, following, return_exceptions=True)

    async def _follow(self, changed: asyncio.Event) -> None:
        """Hear of changes of the list the newer way; ends with the server. Older servers notify by themselves."""
        while True:
            try:
                async with self.client.listen(tools_list_changed=True) as events:
                    async for _ in events:
                        changed.set()
            except SubscriptionLost:
                # Whether the server is still there shows when it is asked.
                await self.client.list_tools()
                changed.set()
            except (ListenNotSupportedError, MCPError):
                await asyncio.Event().wait()
            else:
                return

    async def _keep_up_to_date(self, changed: asyncio.Event) -> None:
        while True:
            await changed.wait()
            changed.clear()
            await self._bring_up_to_date()

    async def _bring_up_to_date(self) -> None:
        listed = {mounted_name(self.name, tool.name): tool for tool in await self._list()}
        for title, (tool, offer) in list(self.offers.items()):
            if listed.get(title) != tool:
                offer.withdraw()
                del self.offers[title]
        for title, tool in listed.items():
            if title not in self.offers:
                await self._offer(title, tool)

    async def _list(self) -> list[Tool]:
        tools: list[Tool] = []
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            page = await self.client.list_tools(cursor=cursor)
            tools += page.tools
            cursor = page.next_cursor
            if cursor is None:
                break
        return tools

    async def _offer(self, title: str, tool: Tool) -> None:
        try:
            offer = await self.system.tools.register(
                title, tool.description or "", mounted_schema(tool), self._forward(tool.name), timeout=CALL_SECONDS
            )
        except (AlreadyExists, InvalidArgument, LimitExceeded) as error:
            print(f"{title} is left out: {error}", file=sys.stderr, flush=True)
        else:
            self.offers[title] = (tool, offer)

    def _forward(self, name: str) -> Callable[..., Awaitable[Json]]:
        async def forward(**arguments: Json) -> Json:
            return result_of(await self.client.call_tool(name, arguments))

        return forward


def _parameters(command: tuple[str, ...]) -> StdioServerParameters:
    return StdioServerParameters(command=command[0], args=list(command[1:]))


def _ours(group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    ours = group.subgroup(Error)
    return None if ours is None else _first(ours)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _unreachable(server: str | tuple[str, ...], error: BaseException) -> Unreachable:
    return Unreachable(f"the server {_shown(server)} cannot be used: {error}")


def _shown(server: str | tuple[str, ...]) -> str:
    return server if isinstance(server, str) else server[0]


@asynccontextmanager
async def _noticing(
    parameters: StdioServerParameters, ended: asyncio.Event
) -> AsyncIterator[tuple[ReadStream[SessionMessage | Exception], WriteStream[SessionMessage]]]:
    """The streams of a program that is started; `ended` is set when it has closed its end."""
    async with stdio_client(parameters) as (read, write):
        sender, receiver = anyio.create_memory_object_stream[SessionMessage | Exception](0)

        async def relay() -> None:
            async with sender:
                async for message in read:
                    await sender.send(message)
            ended.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(relay)
            yield receiver, write
            tasks.cancel_scope.cancel()
