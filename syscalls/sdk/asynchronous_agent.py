"""`run_tools` for asyncio programs. The calls of one answer are made at the same time."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine, Sequence

from llmos.syscalls.abi.errors import Error
from llmos.syscalls.sdk import agent, requests, security_requests, tool_requests
from llmos.syscalls.sdk.agent import AgentRun, Planned, ToolRun, ToolUse, Wanted
from llmos.syscalls.sdk.asynchronous_call import perform
from llmos.syscalls.sdk.asynchronous_tools import failure_of
from llmos.syscalls.sdk.connection import Connection
from llmos.syscalls.sdk.requests import SamplingOptions
from llmos.syscalls.sdk.tool_calls import BadCall
from llmos.syscalls.sdk.tool_definitions import Definition, Json, ToolCaller
from llmos.syscalls.sdk.tool_serving import told


async def run_tools(
    connection: Connection,
    pid: int,
    question: str | None,
    tools: Sequence[Wanted] | None,
    max_rounds: int,
    max_calls: int,
    constrain: bool,
    sampling: SamplingOptions,
) -> ToolRun:
    """Ask, let the model call tools until it has answered, and give what came of it."""
    own = (await perform(connection, security_requests.whoami())).name
    run = AgentRun(pid, await _tools(connection, tools, own), max_rounds, max_calls, sampling, constrain)
    # Checked before anything is appended: a loop that cannot be had leaves nothing behind.
    answer = requests.generate(pid, run.options(), 0)
    if question is not None:
        run.begun(await perform(connection, run.begin(question)))
    while calls := run.take(await perform(connection, answer)):
        uses = await together([_use(connection, pid, own, call) for call in calls])
        await perform(connection, run.results(uses))
        answer = requests.generate(pid, run.options(), 0)
    return run.result()


async def _tools(connection: Connection, wanted: Sequence[Wanted] | None, own: str) -> tuple[agent.AgentTool, ...]:
    names = agent.names_of(wanted)
    known = await perform(connection, tool_requests.list_tools(names or ())) if names is None or names else []
    return agent.tools_of(wanted, known, own)


async def together(calls: Sequence[Coroutine[None, None, ToolUse]]) -> Sequence[ToolUse]:
    """What comes of calls; when one ends the loop, or the loop is ended, none of the others goes on."""
    tasks = [asyncio.create_task(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _use(connection: Connection, pid: int, own: str, call: Planned | BadCall) -> ToolUse:
    if isinstance(call, BadCall):
        return agent.bad_use(call)
    if isinstance(call.tool.target, Definition):
        return await _call_function(call, call.tool.target, ToolCaller(own, "", "", pid))
    try:
        invocation = tool_requests.call_tool(call.tool.target, call.arguments, pid, None)
        return agent.good_use(call, await perform(connection, invocation))
    except Error as error:
        return agent.failed_use(call, error)


async def _call_function(call: Planned, definition: Definition, caller: ToolCaller) -> ToolUse:
    """A function of this program. Whatever it raises is told to the model."""
    task = asyncio.create_task(_run(definition, call.arguments, caller))
    try:
        await asyncio.wait({task})
    finally:
        task.cancel()
    error = failure_of(task)
    return agent.good_use(call, task.result()) if error is None else agent.failed_function(call, told(error))


async def _run(definition: Definition, arguments: dict[str, Json], caller: ToolCaller) -> Json:
    if inspect.iscoroutinefunction(definition.function):
        return agent.json_value(await definition.function(**agent.keywords(definition, arguments, caller)))
    return await asyncio.to_thread(agent.run_function, definition, arguments, caller)
