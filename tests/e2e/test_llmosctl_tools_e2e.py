"""`llmosctl tool` as people type it; and programs that offer tools outlive their daemon, also one that is killed."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import llmos
from llmos.drivers.models.store import ResolvedModel
from tests.e2e.test_llmosctl_e2e import Llmosctl

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

PATIENCE = 60.0


@pytest.fixture(scope="module")
def ctl(model: ResolvedModel) -> Iterator[Llmosctl]:
    """A daemon in a short home, started and ended by llmosctl."""
    home = Path(tempfile.mkdtemp(prefix="llmos-"))
    llmosctl = Llmosctl(home)
    llmosctl.output("up", "--set", "engine.device_pages=64")
    try:
        yield llmosctl
        llmosctl.output("down")
    finally:
        shutil.rmtree(home, ignore_errors=True)


def connect(ctl: Llmosctl) -> llmos.System:
    """The administrator's connection."""
    return llmos.connect(f"ipc://{ctl.home}/run/kernel.sock", ctl.home / "keys" / "admin.key")


def greet(name: str, times: int = 1) -> str:
    """Greets.

    Politely.
    """
    if not name:
        raise ValueError("nobody is there")
    return " ".join([f"Hello {name}"] * times)


def test_tools_are_listed_and_called_from_a_terminal(ctl: Llmosctl) -> None:
    with connect(ctl) as system:
        system.tools.register(greet)
        serving = threading.Thread(target=system.tools.serve)
        serving.start()
        try:
            assert ctl.output("tool", "call", "greet", "--arg", "name=7", "--arg", "times=2") == "Hello 7 Hello 7\n"
            called = json.loads(ctl.output("tool", "call", "admin/greet", "--json-args", '{"name": "Ada"}', "--json"))
            assert called == {"result": "Hello Ada"}
            listed = ctl.output("tool", "list").splitlines()
            assert listed[0].split() == ["TOOL", "CALLS", "OPEN", "TAKES", "DESCRIPTION"]
            assert listed[1].startswith("admin/greet     2 0 of 16")
            assert listed[1].endswith("Greets.")
            (tool,) = json.loads(ctl.output("tool", "list", "greet", "--json"))
            assert (tool["owner"], tool["name"], tool["calls"]) == ("admin", "greet", 2)
            failed = ctl("tool", "call", "greet", "--arg", "name=")
            assert failed.returncode == 1
            assert failed.stderr.startswith("error: ValueError: nobody is there\nhint:")
            wrong = ctl("tool", "call", "greet")
            assert wrong.returncode == 1
            assert "'name' is a required property" in wrong.stderr
            missing = ctl("tool", "call", "nothing")
            assert missing.returncode == 5
            assert "hint: llmosctl tool list" in missing.stderr
            limited = ctl.output("run", "Hi", "--max-tokens", "1", "--keep")
            assert limited is not None
            (pid,) = ctl.pids()
            assert "tool_calls=0" in ctl.output("limit", str(pid), "tool_calls=0")
            refused = ctl("tool", "call", "greet", "--arg", "name=x", "--pid", str(pid))
            assert f"limit tool_calls=0 of process {pid}, set by admin" in refused.stderr
            ctl.output("kill", str(pid))
        finally:
            system.tools.stop()
            serving.join(PATIENCE)


def test_programs_offer_their_tools_again_to_a_daemon_that_was_killed(ctl: Llmosctl) -> None:
    async def double(number: int) -> int:
        return 2 * number

    async def serve(ready: threading.Event, stopped: threading.Event) -> None:
        key = ctl.home / "keys" / "admin.key"
        async with llmos.aconnect(f"ipc://{ctl.home}/run/kernel.sock", key) as system:
            await system.tools.register(double)
            serving = asyncio.create_task(system.tools.serve())
            ready.set()
            await asyncio.to_thread(stopped.wait)
            system.tools.stop()
            await serving

    ready, stopped = threading.Event(), threading.Event()
    other = threading.Thread(target=lambda: asyncio.run(serve(ready, stopped)))
    with connect(ctl) as system:
        system.tools.register(greet)
        serving = threading.Thread(target=system.tools.serve)
        serving.start()
        other.start()
        try:
            assert ready.wait(PATIENCE)
            assert ctl.output("tool", "call", "double", "--arg", "number=4") == "8\n"
            os_pid = ctl.json("info")["os_pid"]
            assert isinstance(os_pid, int)
            os.kill(os_pid, signal.SIGKILL)
            ctl.output("up", "--set", "engine.device_pages=64")
            # Each look is a program of its own, so this is no busy loop.
            while {tool["name"] for tool in json.loads(ctl.output("tool", "list", "--json"))} != {"greet", "double"}:
                assert serving.is_alive()
                assert other.is_alive()
            assert ctl.output("tool", "call", "double", "--arg", "number=4") == "8\n"
            assert ctl.output("tool", "call", "greet", "--arg", "name=you") == "Hello you\n"
        finally:
            system.tools.stop()
            stopped.set()
            serving.join(PATIENCE)
            other.join(PATIENCE)
    assert json.loads(ctl.output("tool", "list", "--json")) == []
