"""A server of the Model Context Protocol that shows the tools which its key may call.

Rules: over stdio, stdout is the protocol's alone; over HTTP it listens on this machine only, because whoever reaches it
calls with its key.
"""

from __future__ import annotations

import socket
import sys

import uvicorn
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.stdio import stdio_server
from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, PaginatedRequestParams

from llmos.apps.mcp.translation import shown_error, shown_names, shown_result, shown_tool
from llmos.syscalls.abi.errors import Error, NotFound
from llmos.syscalls.sdk.asynchronous import AsyncSystem, aconnect

Context = ServerRequestContext[dict[str, object]]


async def serve_stdio() -> None:
    """Serve one client over stdin and stdout, until it closes them."""
    async with aconnect() as system, stdio_server() as (read, write):
        server = server_of(system)
        await server.run(read, write, server.create_initialization_options())


async def serve_http(host: str, port: int) -> None:
    """Serve over streamable HTTP at http://HOST:PORT/mcp; port 0 is any that is free, and stderr says which."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    async with aconnect() as system:
        app = server_of(system).streamable_http_app(host=host)
        http = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        with socket.create_server((host, port), family=family) as listening:
            shown = f"[{host}]" if ":" in host else host
            print(f"serving tools at http://{shown}:{listening.getsockname()[1]}/mcp", file=sys.stderr, flush=True)
            await http.serve([listening])


def server_of(system: AsyncSystem) -> Server[dict[str, object]]:
    """The server of a connection's tools."""

    async def list_tools(_: Context, params: PaginatedRequestParams | None) -> ListToolsResult:
        tools = shown_names(await system.tools.list())
        return ListToolsResult(tools=[shown_tool(name, tool) for name, tool in tools.items()])

    async def call_tool(_: Context, params: CallToolRequestParams) -> CallToolResult:
        try:
            tool = shown_names(await system.tools.list()).get(params.name)
            if tool is None:
                raise NotFound(f"there is no tool {params.name!r}", "list the tools again")
            return shown_result(await system.tools.call(f"{tool.owner}/{tool.name}", params.arguments))
        except Error as error:
            return shown_error(error)

    return Server("llmos", on_list_tools=list_tools, on_call_tool=call_tool)
