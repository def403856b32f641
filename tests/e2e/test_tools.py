"""Tools through a real daemon: a program of bob's offers them, he and the administrator call, and things go wrong."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

import llmos
from llmos.syscalls.abi.tools import ToolCall
from llmos.syscalls.sdk.tool_definitions import Json
from tests.e2e.daemon_process import USER, Daemon
from tests.e2e.house import House

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

PROGRAM = Path(__file__).parent / "tool_app.py"
PATIENCE = 60.0


@contextmanager
def program(daemon: Daemon) -> Iterator[subprocess.Popen[str]]:
    """Bob's tools, offered by an OS process of its own."""
    command = [sys.executable, str(PROGRAM), daemon.endpoint, str(daemon.key(USER))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def offered(roomy_daemon: Daemon) -> Iterator[subprocess.Popen[str]]:
    """Bob's tools for all tests here."""
    with program(roomy_daemon) as process:
        yield process


def heard(process: subprocess.Popen[str]) -> str:
    """What bob's program says next."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


pytestmark.append(pytest.mark.usefixtures("offered"))


def test_a_tool_is_listed_called_and_answers(roomy: House) -> None:
    tools = {tool.name: tool for tool in roomy.system.tools.list()}
    assert tools["add"].owner == USER
    assert tools["add"].description == "Adds two numbers."
    assert '"description":"the first"' in tools["add"].schema
    assert roomy.system.tools.call("bob/add", {"a": 3, "b": 4}) == 7
    assert roomy.system.tools.call("bob/add", {"a": 3}) == 4
    (again,) = roomy.system.tools.list(["bob/add"])
    assert again.calls == tools["add"].calls + 2
    assert again.seconds is not None
    with roomy.daemon.connect(USER) as bob:
        assert bob.tools.call("add", {"a": 1}) == 2


def test_what_goes_wrong_inside_a_tool_is_its_callers_to_hear(roomy: House) -> None:
    with pytest.raises(llmos.ToolFailed, match="ValueError: no rain") as failed:
        roomy.system.tools.call("bob/fail", {"why": "no rain"})
    assert isinstance(failed.value, llmos.DeviceError)
    with pytest.raises(llmos.ToolFailed, match="the limit is"):
        roomy.system.tools.call("bob/large")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"a": "three"}, r"bob/add: .* \$\.a: 'three' is not of type 'integer'"),
        ({}, "'a' is a required property"),
        ({"a": 1, "c": 2}, "no arguments named 'c'"),
    ],
)
def test_arguments_that_do_not_fit_do_not_reach_the_tool(
    roomy: House, arguments: dict[str, object], complaint: str
) -> None:
    with pytest.raises(llmos.InvalidArgument, match=complaint):
        roomy.system.tools.call("bob/add", arguments)


def test_large_arguments_are_checked_beside_the_loop(roomy: House) -> None:
    assert roomy.system.tools.call("bob/add", {"a": 3, "b": 4}) == 7
    with pytest.raises(llmos.InvalidArgument, match="is not of type"):
        roomy.system.tools.call("bob/add", {"a": "x" * 100_000})


def test_the_tool_is_told_who_calls_as_the_kernel_knows_it(roomy: House) -> None:
    process = roomy.spawn()
    told = roomy.system.tools.call("bob/who", pid=process.pid)
    assert told == {"principal": "admin", "tenant": "system", "role": "admin", "pid": process.pid}
    with roomy.daemon.connect(USER) as bob:
        assert bob.tools.call("who") == {"principal": "bob", "tenant": "default", "role": "developer", "pid": None}


def test_nobody_calls_in_the_name_of_a_process_that_is_not_theirs(roomy: House) -> None:
    process = roomy.spawn()
    with roomy.daemon.connect(USER) as bob, pytest.raises(llmos.PermissionDenied, match=r"ctx\.append"):
        bob.tools.call("who", pid=process.pid)
    with pytest.raises(llmos.NoSuchProcess):
        roomy.system.tools.call("bob/who", pid=123_456)


def test_a_tool_that_nobody_offers_is_told_as_such(roomy: House) -> None:
    with pytest.raises(llmos.NotFound, match="there is no tool 'bob/nothing'"):
        roomy.system.tools.call("bob/nothing")
    with pytest.raises(llmos.NotFound, match="there is no tool 'nobody/add'"):
        roomy.system.tools.call("nobody/add")
    for name in ("", "a b", "bob/", "/add", "../x", "bob/a/b"):
        with pytest.raises(llmos.InvalidArgument):
            roomy.system.tools.call(name)


def test_the_smaller_time_out_ends_a_call_and_says_which_tool(roomy: House) -> None:
    with pytest.raises(llmos.TimedOut, match=r"bob/quick did not answer within 0.5 s"):
        roomy.system.tools.call("bob/quick")
    with pytest.raises(llmos.TimedOut, match=r"bob/hang did not answer within 0.2 s"):
        roomy.system.tools.call("bob/hang", timeout=0.2)


def test_a_process_waits_while_its_tool_works_and_goes_with_it(roomy: House, offered: subprocess.Popen[str]) -> None:
    process = roomy.spawn()
    with ThreadPoolExecutor() as threads:
        call = threads.submit(roomy.system.tools.call, "bob/hang", {"text": "wait"}, process.pid)
        while heard(offered) != "called wait":
            pass
        info = process.info()
        assert (info.state, info.waiting_for) == (llmos.State.WAITING, "the tool bob/hang")
        assert info.tool_calls == 1
        process.kill()
        assert isinstance(call.exception(PATIENCE), llmos.Cancelled)
    assert roomy.system.tools.list(["bob/hang"])[0].open == 0


def test_a_cancelled_call_is_told_to_the_app_and_its_process_goes_on(
    roomy: House, offered: subprocess.Popen[str]
) -> None:
    process = roomy.spawn()

    async def cancel() -> None:
        async with llmos.aconnect(roomy.daemon.endpoint, roomy.daemon.key()) as system:
            call = asyncio.create_task(system.tools.call("bob/hang", {"text": "cancel"}, pid=process.pid))
            await asyncio.to_thread(lambda: [None for _ in iter(lambda: heard(offered), "called cancel")])
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await system.info()

    asyncio.run(cancel())
    assert process.info().waiting_for == "input"
    assert roomy.system.tools.list(["bob/hang"])[0].open == 0


def test_a_full_tool_is_not_called_and_says_when(roomy: House) -> None:
    with ThreadPoolExecutor() as threads:
        first = threads.submit(roomy.system.tools.call, "bob/one", None, None, 2.0)
        while not roomy.system.tools.list(["bob/one"])[0].open:
            pass
        with pytest.raises(llmos.TryAgain, match="bob/one has 1 calls open") as refused:
            roomy.system.tools.call("bob/one")
        assert refused.value.hint
        assert isinstance(first.exception(PATIENCE), llmos.TimedOut)


def test_the_limit_of_a_process_counts_its_calls(roomy: House) -> None:
    process = roomy.spawn(limits=llmos.Limits(tool_calls=1))
    assert roomy.system.tools.call("bob/add", {"a": 1}, pid=process.pid) == 2
    with pytest.raises(llmos.LimitExceeded, match=f"limit tool_calls=1 of process {process.pid}, set by admin"):
        roomy.system.tools.call("bob/add", {"a": 1}, pid=process.pid)
    with pytest.raises(llmos.InvalidArgument):
        roomy.system.tools.call("bob/add", {}, pid=process.pid)
    process.limit(tool_calls=None)
    assert roomy.system.tools.call("bob/add", {"a": 1}, pid=process.pid) == 2
    assert process.info().tool_calls == 2


def test_calls_fail_clearly_when_the_program_is_killed_and_its_tools_are_gone(roomy: House) -> None:
    with roomy.daemon.connect() as other:
        # Its own program, so that the others' tools stay.
        with slow_program(roomy.daemon) as process, ThreadPoolExecutor() as threads:
            call = threads.submit(other.tools.call, "admin/slow")
            assert heard(process) == "called"
            process.kill()
            error = call.exception(PATIENCE)
        assert isinstance(error, llmos.DeviceError)
        assert "went away before it answered" in error.message
        with pytest.raises(llmos.NotFound):
            other.tools.call("admin/slow")


SLOW = """
import sys, threading, llmos
with llmos.connect(*sys.argv[1:]) as system:
    def slow() -> None:
        print("called", flush=True)
        threading.Event().wait()
    system.tools.register(slow)
    print("ready", flush=True)
    system.tools.serve()
"""


@contextmanager
def slow_program(daemon: Daemon) -> Iterator[subprocess.Popen[str]]:
    """A program of the administrator's with a tool that never answers."""
    command = [sys.executable, "-c", SLOW, daemon.endpoint, str(daemon.key())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert heard(process) == "ready"
        try:
            yield process
        finally:
            process.kill()


def test_a_name_is_offered_once(roomy: House) -> None:
    with roomy.daemon.connect(USER) as bob:
        with pytest.raises(llmos.AlreadyExists, match="bob/add is offered already"):
            bob.tools.register("add", "", {"type": "object"}, handler=lambda: 1)
        with pytest.raises(llmos.PermissionDenied, match=r"tool\.register"):
            bob.tools.register("admin/add", "", {"type": "object"}, handler=lambda: 1)


@pytest.mark.parametrize(
    ("schema", "complaint"),
    [
        ('{"type": "string"}', 'not "object"'),
        ("nonsense", "must be JSON"),
        ('{"type": "object", "$ref": "http://127.0.0.1/x"}', "outside itself"),
        ('{"type": "object", "properties": {"a": {"$ref": "#/properties/a/minimum/x", "minimum": 1}}}', "not there"),
        ('{"type": "object", "x": {"multipleOf": 0}, "properties": {"a": {"$ref": "#/x"}}}', "no schema"),
        ('{"type": "object", "properties": 3, "description": "' + "x" * 5000 + '"}', "no JSON schema"),
        ('{"type": "object", "description": "' + "x" * 70_000 + '"}', "schema"),
    ],
)
def test_a_schema_that_is_none_is_refused_at_registration(roomy: House, schema: str, complaint: str) -> None:
    with pytest.raises(llmos.InvalidArgument, match=complaint):
        roomy.system.tools.register("bad", "", schema, handler=lambda: 1)


def test_a_policy_can_deny_a_tool_and_a_denied_tool_is_not_listed(roomy: House) -> None:
    rules = "p, principal:bob, *, tool:/bob/fail, tool.call, deny\n"
    roomy.system.policy.apply("tools.csv", rules)
    try:
        with roomy.daemon.connect(USER) as bob:
            with pytest.raises(llmos.PermissionDenied, match=r"tool\.call.*tools\.csv:1 denies it"):
                bob.tools.call("fail", {"why": "x"})
            names = {tool.name for tool in bob.tools.list()}
            assert "add" in names
            assert "fail" not in names
    finally:
        roomy.system.policy.apply("tools.csv", None)


def test_the_asynchronous_sdk_offers_and_calls(roomy: House) -> None:
    async def everything() -> None:
        async with llmos.aconnect(roomy.daemon.endpoint, roomy.daemon.key()) as system:
            gone = asyncio.Event()

            @system.tools.offer
            async def double(number: int, caller: llmos.ToolCaller) -> dict[str, Json]:
                """Doubles a number."""
                return {"double": 2 * number, "for": caller.principal}

            async def endless() -> None:
                try:
                    await asyncio.Event().wait()
                finally:
                    gone.set()

            await system.tools.register(endless, "Never ends.", timeout=30)
            serving = asyncio.create_task(system.tools.serve())
            await system.tools.register(lambda: "late", name="late")
            assert await system.tools.call("late") == "late"
            while "double" not in {tool.name for tool in await system.tools.list()}:
                assert not serving.done()
            calls = [system.tools.call("double", {"number": number}) for number in range(8)]
            assert await asyncio.gather(*calls) == [{"double": 2 * n, "for": "admin"} for n in range(8)]
            with pytest.raises(llmos.TimedOut):
                await system.tools.call("endless", timeout=0.2)
            await asyncio.wait_for(gone.wait(), PATIENCE)
            system.tools.stop()
            await serving
            with pytest.raises(llmos.NotFound):
                await system.tools.call("double", {"number": 1})

    asyncio.run(everything())


def test_calling_oneself_over_one_connection_works_and_ends_with_it(roomy: House) -> None:
    with roomy.daemon.connect() as system:
        system.tools.register("echo", "", {"type": "object"}, handler=lambda **given: given)
        serving = threading.Thread(target=system.tools.serve)
        serving.start()
        assert system.tools.call("echo", {"x": [1, None, "ü"]}) == {"x": [1, None, "ü"]}
        system.tools.stop()
        serving.join(PATIENCE)
    assert ToolCall("echo").arguments == "{}"
    assert "echo" not in {tool.name for tool in roomy.system.tools.list()}


def test_what_a_handler_says_of_its_failure_reaches_its_caller_whatever_the_letters(roomy: House) -> None:
    def strange() -> None:
        raise ValueError("half a letter: \ud800")

    with roomy.daemon.connect() as system:
        system.tools.register(strange)
        serving = threading.Thread(target=system.tools.serve)
        serving.start()
        with pytest.raises(llmos.ToolFailed, match=r"ValueError: half a letter: \\ud800"):
            system.tools.call("strange", timeout=PATIENCE)
        with pytest.raises(llmos.InvalidArgument, match="must be JSON"):
            system.tools.call("strange", {"a": "\ud800"})
        system.tools.stop()
        serving.join(PATIENCE)


def test_tools_come_and_go_while_the_asynchronous_sdk_serves(roomy: House) -> None:
    async def everything() -> None:
        async with llmos.aconnect(roomy.daemon.endpoint, roomy.daemon.key()) as system:
            serving = asyncio.create_task(system.tools.serve())
            offer = await system.tools.register(lambda: "here", name="passing")
            tasks = asyncio.all_tasks()

            @system.tools.offer
            async def given_up() -> None:
                """Ends by itself as if it had been cancelled."""
                raise asyncio.CancelledError

            while "given_up" not in {tool.name for tool in await system.tools.list()}:
                assert not serving.done()
            with pytest.raises(llmos.ToolFailed, match="CancelledError"):
                await system.tools.call("given_up", timeout=PATIENCE)
            offer.withdraw()
            with pytest.raises(llmos.NotFound):
                await system.tools.call("passing")
            assert len(asyncio.all_tasks()) == len(tasks)

            late = asyncio.create_task(system.tools.register(lambda: 1, name="late"))
            await asyncio.sleep(0)
            late.cancel()
            await asyncio.wait({late})
            with pytest.raises(llmos.NotFound):
                await system.tools.call("late")
            system.tools.stop()
            await serving

    asyncio.run(everything())
