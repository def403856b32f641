"""An MCP server of the official SDK. Usage: mcp_server.py [http]; stdio without it, and with it its URL on stdout."""

from __future__ import annotations

import asyncio
import os
import socket
import sys

import uvicorn
from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("test", log_level="ERROR")


@server.tool()
def add(a: int, b: int = 1) -> int:
    """Adds two numbers."""
    return a + b


@server.tool()
def fail() -> str:
    """Fails."""
    raise ValueError("no rain")


@server.tool()
def environment() -> list[str]:
    """The names in its environment."""
    return sorted(os.environ)


@server.tool()
def leave() -> str:
    """Ends the server."""
    os._exit(3)


def more() -> str:
    """Came later."""
    return "later"


@server.tool()
async def grow(context: Context) -> str:
    """Adds a tool and says so."""
    server.add_tool(more)
    await context.notify_tools_changed()
    return "grown"


if sys.argv[1:] == ["http"]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(f"http://127.0.0.1:{listening.getsockname()[1]}/mcp", flush=True)
        http = uvicorn.Server(uvicorn.Config(server.streamable_http_app(), log_level="error"))
        asyncio.run(http.serve([listening]))
else:
    server.run("stdio")
