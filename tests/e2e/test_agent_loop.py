"""The agent loop with the real default model: what it is told, what it calls, and where it ends.

The model is small and seldom calls anything by itself; a context that is full of calls makes it write one more.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from enum import Enum

import pytest

import llmos
from llmos.syscalls.abi.words import ChatMessage, MadeCall, Role
from llmos.syscalls.sdk.blocking_call import perform
from llmos.syscalls.sdk.connection import open_connection
from llmos.syscalls.sdk.tool_definitions import Json
from llmos.syscalls.sdk.tool_requests import append_with_tools
from tests.e2e.house import House

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

PATIENCE = 60.0
PATTERN = "".join(f'{{"name": "add", "arguments": {{"a": {n}, "b": 1}}}}\n' for n in (1, 2, 3, 4, 5, 6))


@pytest.fixture
def calls(roomy: House) -> Iterator[list[tuple[int, int, int | None]]]:
    """A tool that adds; gives what it was called with, and for which process."""
    made: list[tuple[int, int, int | None]] = []

    def add(a: int, b: int, caller: llmos.ToolCaller) -> int:
        """Adds two numbers."""
        made.append((a, b, caller.pid))
        return a + b

    with roomy.daemon.connect() as system:
        system.tools.register(add)
        serving = threading.Thread(target=system.tools.serve)
        serving.start()
        yield made
        system.tools.stop()
        serving.join(PATIENCE)


def primed(house: House) -> llmos.Process:
    """A process in whose context call follows call."""
    process = house.spawn()
    process.append(PATTERN)
    return process


def test_a_model_that_writes_calls_has_them_made_for_it_and_hears_of_the_results(
    roomy: House, calls: list[tuple[int, int, int | None]]
) -> None:
    process = primed(roomy)
    run = process.run_tools(tools=["add"], max_rounds=2, max_tokens=40, stop="\n")
    assert run.calls[0].name == "add"
    assert not run.calls[0].failed
    (a, b, pid) = calls[0]
    assert run.calls[0].arguments == {"a": a, "b": b}
    assert (run.calls[0].result, pid) == (str(a + b), process.pid)
    text = process.read().text
    assert f"<|im_start|>tool\n{a + b}<|im_end|>\n<|im_start|>assistant\n" in text
    assert process.info().tool_calls == len(calls)
    assert run.rounds <= 2
    spans = process.read().spans
    assert [span.origin.name for span in spans if span.origin.kind == "tool"][:1] == ["add"]


def test_a_question_tells_the_model_its_tools_and_comes_to_an_end(
    roomy: House, calls: list[tuple[int, int, int | None]]
) -> None:
    process = roomy.spawn()
    run = process.run_tools("What is the capital of France?", max_rounds=3, max_tokens=48)
    text = process.read().text
    assert text.startswith("<|im_start|>system\nYou can call these functions:\n")
    assert '"name":"add"' in text
    assert run.text
    assert 1 <= run.rounds <= 3
    assert len(run.calls) == process.info().tool_calls == len(calls)


def test_functions_of_the_program_itself_are_called_without_the_kernel(roomy: House) -> None:
    made: list[int] = []

    def add(a: int, b: int = 0) -> int:
        made.append(a)
        raise ValueError("overflow")

    process = primed(roomy)
    run = process.run_tools(tools=[add], max_rounds=2, max_tokens=40, stop="\n")
    assert made
    assert run.calls[0].failed
    assert run.calls[0].result == "error: ValueError: overflow"
    assert process.info().tool_calls == 0


def test_a_function_whose_result_is_no_text_has_failed(roomy: House) -> None:
    def add(a: int, b: int = 0) -> str:
        return "half a letter: \ud800"

    run = primed(roomy).run_tools(tools=[add], max_rounds=2, max_tokens=40, stop="\n")
    assert run.calls[0].failed
    assert run.calls[0].result.startswith("error: UnicodeEncodeError")


def test_a_loop_that_is_cancelled_takes_its_functions_with_it(roomy: House) -> None:
    process = primed(roomy)

    async def ask() -> None:
        begun, over = asyncio.Event(), asyncio.Event()

        async def add(a: int, b: int = 0) -> int:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                over.set()
            return a + b

        async with llmos.aconnect(roomy.daemon.endpoint, roomy.daemon.key()) as system:
            asked = system.process(process.pid).run_tools(tools=[add], max_rounds=2, max_tokens=40, stop="\n")
            run = asyncio.create_task(asked)
            await asyncio.wait_for(begun.wait(), PATIENCE)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert over.is_set()

    asyncio.run(ask())


def test_the_limit_of_the_process_ends_the_loop(roomy: House, calls: list[tuple[int, int, int | None]]) -> None:
    process = primed(roomy)
    process.limit(tool_calls=0)
    with pytest.raises(llmos.LimitExceeded, match="tool_calls=0"):
        process.run_tools(tools=["add"], max_tokens=40, stop="\n")
    assert calls == []


def test_a_loop_that_cannot_begin_leaves_nothing_behind(roomy: House) -> None:
    process = roomy.spawn()
    with pytest.raises(llmos.NotFound, match="there is no tool 'nothing'"):
        process.run_tools("Hello", tools=["nothing"])
    with pytest.raises(llmos.InvalidArgument, match="no tools"):
        process.run_tools("Hello", tools=[])
    with pytest.raises(llmos.InvalidArgument, match="at least one round"):
        process.run_tools("Hello", tools=[len_of], max_rounds=0)
    with pytest.raises(llmos.InvalidArgument, match="has no type"):
        process.run_tools("Hello", tools=[lambda text: text])
    assert process.read().token_ids == ()


def len_of(text: str) -> int:
    """The length of a text."""
    return len(text)


def test_the_asynchronous_loop_makes_the_same_calls(roomy: House, calls: list[tuple[int, int, int | None]]) -> None:
    process = primed(roomy)

    async def ask() -> llmos.ToolRun:
        async with llmos.aconnect(roomy.daemon.endpoint, roomy.daemon.key()) as system:
            return await system.process(process.pid).run_tools(tools=["add"], max_rounds=2, max_tokens=40, stop="\n")

    run = asyncio.run(ask())
    assert run.calls[0].result == str(calls[0][0] + calls[0][1])


class Scale(Enum):
    """A scale."""

    CELSIUS = "celsius"
    KELVIN = "kelvin"


def test_a_constrained_model_writes_nothing_but_calls_that_fit_and_answers(roomy: House) -> None:
    asked: list[tuple[str, Scale]] = []

    def temperature(city: str, scale: Scale = Scale.CELSIUS) -> str:
        """Tells the temperature of a city."""
        asked.append((city, scale))
        return "21 degrees"

    for question in ("What is the temperature in Paris?", "Call the function temperature for Rome, in kelvin."):
        process = roomy.spawn()
        run = process.run_tools(question, tools=[temperature], constrain=True, max_rounds=3, max_tokens=60)
        assert not [use for use in run.calls if use.failed and use.name == ""]
        assert run.complete or run.finish_reason is llmos.FinishReason.LENGTH
    assert all(isinstance(scale, Scale) for _, scale in asked)


NO_TOOLS: tuple[Json, ...] = ({"a": 1}, [], [1], [{"type": "function"}], [{"function": {"name": 3}}])


@pytest.mark.parametrize("tools", NO_TOOLS)
def test_what_a_model_is_told_of_tools_is_checked(roomy: House, tools: Json) -> None:
    process = roomy.spawn()
    connection = open_connection(roomy.daemon.endpoint, roomy.daemon.key())
    try:
        with pytest.raises(llmos.InvalidArgument):
            perform(connection, append_with_tools(process.pid, [ChatMessage(Role.USER, "q")], tools))
        made = ChatMessage(Role.ASSISTANT, "", (MadeCall("add", "nonsense"),))
        with pytest.raises(llmos.InvalidArgument, match="must be JSON"):
            perform(connection, append_with_tools(process.pid, [made]))
    finally:
        connection.close()
    assert process.read().token_ids == ()
