"""`llmosctl tool`: list and call tools, and start the bridge to the Model Context Protocol, a program of its own."""

from __future__ import annotations

import json
import os
import sys

import click

from llmos.apps.llmosctl import units
from llmos.apps.llmosctl.connection import connected, emit, endpoint_of, key_of
from llmos.apps.llmosctl.options import Command, Group, Options, pass_options
from llmos.apps.llmosctl.processes import PID
from llmos.apps.llmosctl.tables import Column, table
from llmos.syscalls.abi.tools import ToolInfo
from llmos.syscalls.sdk.tool_definitions import Json

BRIDGE = "llmos.apps.mcp"

_COLUMNS = (
    Column("TOOL"),
    Column("CALLS", right=True),
    Column("OPEN", right=True),
    Column("TAKES", right=True),
    Column("DESCRIPTION", least=20),
)


@click.group(cls=Group)
def tool() -> None:
    """List tools, call them, and connect those of MCP servers and clients."""


@tool.command("list", cls=Command)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@pass_options
def list_tools(options: Options, names: tuple[str, ...]) -> None:
    """List the tools that you may call; TAKES is how long a call takes in the middle."""
    with connected(options) as system:
        tools = system.tools.list(names)
    width = None if not sys.stdout.isatty() else os.get_terminal_size().columns
    emit(options, tools, table(_COLUMNS, [_row(tool) for tool in tools], width))


@tool.command("call", cls=Command)
@click.argument("name")
@click.option("--arg", "given", metavar="KEY=VALUE", multiple=True, help="One argument; may be repeated.")
@click.option("--json-args", metavar="JSON", help="All arguments, as a JSON object.")
@click.option("--pid", type=PID, help="Call it for this process, which waits meanwhile.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Longest to wait.")
@pass_options
def call_tool(
    options: Options,
    name: str,
    given: tuple[str, ...],
    json_args: str | None,
    pid: int | None,
    timeout: float | None,
) -> None:
    """Call a tool and print its result. A VALUE is read as JSON where the tool does not want text."""
    with connected(options) as system:
        known = system.tools.list([name]) if given else []
        arguments = arguments_of(given, json_args, known[0].schema if known else "{}")
        result = system.tools.call(name, arguments, pid, timeout)
    emit(options, {"result": result}, [result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)])


@tool.command(cls=Command, context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.option("--url", help="The server's URL (streamable HTTP).")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@pass_options
def mount(options: Options, name: str, url: str | None, command: tuple[str, ...]) -> None:
    """Offer the tools of an MCP server as NAME.TOOL, until either side ends: --url URL, or -- COMMAND..."""
    if (url is None) == (not command):
        raise click.UsageError("give either --url URL or -- COMMAND...")
    _become_bridge(options, "mount", name, *(("--url", url) if url is not None else ("--", *command)))


@tool.command(cls=Command)
@click.option("--http", metavar="HOST:PORT", help="Listen here instead of talking over stdin and stdout.")
@pass_options
def serve(options: Options, http: str | None) -> None:
    """Be an MCP server that shows the tools which you may call."""
    _become_bridge(options, "serve", *(("--http", http) if http is not None else ()))


def arguments_of(given: tuple[str, ...], json_args: str | None, schema: str) -> dict[str, Json]:
    """The arguments of a call. Raises `UsageError`."""
    arguments = _read_object(json_args) if json_args is not None else {}
    properties = json.loads(schema).get("properties", {})
    for pair in given:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{pair!r} is not KEY=VALUE")
        wanted = properties.get(key)
        text = isinstance(wanted, dict) and wanted.get("type") == "string"
        arguments[key] = value if text else _value(value)
    return arguments


def _read_object(text: str) -> dict[str, Json]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"--json-args is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise click.UsageError("--json-args is no JSON object")
    return value


def _value(text: str) -> Json:
    try:
        value: Json = json.loads(text)
    except ValueError:
        return text
    return value


def _row(tool: ToolInfo) -> tuple[str, str, str, str, str]:
    first = tool.description.partition("\n")[0]
    takes = "-" if tool.seconds is None else units.duration(tool.seconds)
    return f"{tool.owner}/{tool.name}", str(tool.calls), f"{tool.open} of {tool.at_once}", takes, first


def _become_bridge(options: Options, *arguments: str) -> None:
    """Go on as the bridge: it needs libraries that no other command should wait for."""
    environment = {
        **options.child_environment(),
        "LLMOS_ENDPOINT": endpoint_of(options),
        "LLMOS_KEY": str(key_of(options)),
    }
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-m", BRIDGE, *arguments], environment)
