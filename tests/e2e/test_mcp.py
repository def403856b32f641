"""MCP both ways: a server of the official SDK is mounted, and its client talks to `llmosctl tool serve`."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp_types import CallToolResult, TextContent

import llmos
from tests.e2e.daemon_process import USER, Daemon
from tests.e2e.house import House

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SERVER = Path(__file__).parent / "mcp_server.py"
PATIENCE = 60.0


def environment(daemon: Daemon, name: str) -> dict[str, str]:
    """That of a principal's programs."""
    return {
        **os.environ,
        "LLMOS_ENDPOINT": daemon.endpoint,
        "LLMOS_KEY": str(daemon.key(name)),
    }


@contextmanager
def llmosctl(daemon: Daemon, name: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command that runs in the foreground, with its stderr at hand."""
    command = [sys.executable, "-m", "llmos.apps.llmosctl", *arguments]
    with subprocess.Popen(command, env=environment(daemon, name), stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(PATIENCE)


def said(process: subprocess.Popen[str], words: str) -> str:
    """The next line on its stderr that has these words."""
    assert process.stderr is not None
    lines: list[str] = []
    for line in process.stderr:
        lines.append(line)
        if words in line:
            return line
    raise AssertionError("".join(lines))


@contextmanager
def http_server() -> Iterator[str]:
    """The official SDK's server over HTTP; gives its URL."""
    with subprocess.Popen([sys.executable, str(SERVER), "http"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def names(system: llmos.System, prefix: str) -> set[str]:
    """The tools of a mount."""
    return {tool.name for tool in system.tools.list() if tool.name.startswith(prefix)}


def check_mount(system: llmos.System, prefix: str) -> None:
    """What every mount of the server does."""
    assert system.tools.call(f"bob/{prefix}.add", {"a": 20, "b": 22}) == {"result": 42}
    with pytest.raises(llmos.InvalidArgument, match="is not of type"):
        system.tools.call(f"bob/{prefix}.add", {"a": "x"})
    with pytest.raises(llmos.ToolFailed, match="fail"):
        system.tools.call(f"bob/{prefix}.fail")
    assert system.tools.call(f"bob/{prefix}.grow") == {"result": "grown"}
    grown = threading.Event()
    while f"{prefix}.more" not in names(system, prefix):
        assert not grown.wait(0.05)
    assert system.tools.call(f"bob/{prefix}.more") == {"result": "later"}


def test_a_program_is_mounted_followed_and_unmounted_when_it_ends(roomy: House) -> None:
    command = ("tool", "mount", "box", "--", sys.executable, str(SERVER))
    with llmosctl(roomy.daemon, USER, *command) as process:
        said(process, "5 tools of box are offered")
        check_mount(roomy.system, "box")
        given = roomy.system.tools.call("bob/box.environment")
        assert isinstance(given, dict)
        assert "LLMOS_KEY" not in str(given)
        with pytest.raises(llmos.Error):
            roomy.system.tools.call("bob/box.leave")
        process.wait(PATIENCE)
    assert names(roomy.system, "box") == set()


def test_a_url_is_mounted_and_unmounted_when_its_user_ends_it(roomy: House) -> None:
    with http_server() as url, llmosctl(roomy.daemon, USER, "tool", "mount", "far", "--url", url) as process:
        said(process, "5 tools of far are offered")
        check_mount(roomy.system, "far")
    assert process.returncode == 130
    assert names(roomy.system, "far") == set()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("box", "--", "/nonexistent/program"), "cannot be used"),
        (("box", "--url", "http://127.0.0.1:9/mcp"), "cannot be used"),
        (("box",), "give either"),
        (("box", "--", sys.executable, "-c", "pass"), "cannot be used"),
    ],
)
def test_what_cannot_be_mounted_is_told(roomy: House, arguments: tuple[str, ...], complaint: str) -> None:
    with llmosctl(roomy.daemon, USER, "tool", "mount", *arguments) as process:
        assert complaint in said(process, "error:")
        assert process.wait(PATIENCE) in (1, 2)


def text_of(result: CallToolResult) -> str:
    """The text of a result."""
    (block,) = result.content
    assert isinstance(block, TextContent)
    return block.text


async def check_server(client: Client) -> None:
    """What every client of `tool serve` sees."""
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert tools["greet"].description == "Greets."
    assert tools["greet"].input_schema["required"] == ["name"]
    greeted = await client.call_tool("greet", {"name": "Ada"})
    assert (text_of(greeted), greeted.is_error) == ("Hello Ada, says bob", False)
    assert (await client.call_tool("pair", {"a": 1})).structured_content == {"a": 1}
    wrong = await client.call_tool("greet", {"name": 3})
    assert wrong.is_error
    assert "is not of type 'string'" in text_of(wrong)
    missing = await client.call_tool("nothing", {})
    assert missing.is_error
    assert "there is no tool 'nothing'" in text_of(missing)


@pytest.fixture
def offered(roomy: House) -> Iterator[None]:
    """Two tools of the administrator's, which bob may call when a policy says so."""

    def greet(name: str, caller: llmos.ToolCaller) -> str:
        """Greets."""
        return f"Hello {name}, says {caller.principal}"

    def pair(a: int) -> dict[str, int]:
        return {"a": a}

    roomy.system.policy.apply("mcp.csv", "p, principal:bob, system, tool:/admin/*, tool.call, allow\n")
    with roomy.daemon.connect() as system:
        system.tools.register(greet)
        system.tools.register(pair)
        serving = threading.Thread(target=system.tools.serve)
        serving.start()
        yield
        system.tools.stop()
        serving.join(PATIENCE)
    roomy.system.policy.apply("mcp.csv", None)


@pytest.mark.usefixtures("offered")
def test_a_client_sees_the_tools_of_its_key_over_stdio(roomy: House) -> None:
    given = environment(roomy.daemon, USER)
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "llmos.apps.llmosctl", "tool", "serve"],
        env={key: given[key] for key in ("LLMOS_ENDPOINT", "LLMOS_KEY")},
    )

    async def everything() -> None:
        async with Client(parameters) as client:
            await check_server(client)

    asyncio.run(everything())


@pytest.mark.usefixtures("offered")
def test_a_client_sees_the_tools_of_its_key_over_http(roomy: House) -> None:
    with llmosctl(roomy.daemon, USER, "tool", "serve", "--http", "127.0.0.1:0") as process:
        url = said(process, "serving tools at").split()[-1]

        async def everything() -> None:
            async with Client(url) as client:
                await check_server(client)

        asyncio.run(everything())


def test_an_address_that_others_reach_is_refused(roomy: House) -> None:
    for address in ("0.0.0.0:8000", "localhost", "127.0.0.1:99999"):
        with llmosctl(roomy.daemon, USER, "tool", "serve", "--http", address) as process:
            assert said(process, "error:")
            assert process.wait(PATIENCE) == 1
