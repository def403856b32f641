"""What the SDK's methods about tools mean on the wire. Pure functions, shared by the blocking and the async classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from llmos.syscalls.abi import messages as m
from llmos.syscalls.abi import tools as t
from llmos.syscalls.abi.errors import DeviceError, InvalidArgument
from llmos.syscalls.abi.words import ChatMessage, Origin
from llmos.syscalls.sdk.protocol import GRACE_SECONDS
from llmos.syscalls.sdk.requests import Invocation, build, itself
from llmos.syscalls.sdk.tool_definitions import Definition, Json


class ToolFailed(DeviceError):
    """EIO: the tool was called, and something went wrong inside it; the message is its own."""


def list_tools(names: Sequence[str]) -> Invocation[t.Tools, list[t.ToolInfo]]:
    """Gives the tools that one may call."""
    request = build(t.ToolList, names=tuple(names))
    return Invocation("tool.list", request, t.Tools, lambda reply: list(reply.tools))


def call_tool(
    name: str, arguments: Mapping[str, object] | None, pid: int | None, timeout: float | None
) -> Invocation[t.ToolResult, Json]:
    """Gives what the tool answered; raises `ToolFailed` when it says that it failed."""
    try:
        text = msgspec.json.encode(dict(arguments or {})).decode()
    except (TypeError, UnicodeEncodeError, RecursionError) as error:
        raise InvalidArgument(f"the arguments must be JSON: {error}", "text, numbers, lists and dicts") from None
    request = build(t.ToolCall, name=name, arguments=text, pid=pid, timeout=timeout)
    # The tool's own time-out says more than the frame's: that one comes later.
    patience = None if timeout is None else timeout + GRACE_SECONDS
    return Invocation("tool.call", request, t.ToolResult, lambda reply: _value(name, reply), patience)


def register_tool(definition: Definition, window: int) -> t.ToolRegister:
    """Offers a tool; its stream is its calls."""
    return build(
        t.ToolRegister,
        name=definition.name,
        description=definition.description,
        schema=definition.schema,
        timeout=definition.timeout,
        at_once=definition.at_once,
        window=window,
    )


def answer_tool(name: str, id: int, result: str | None, error: str | None) -> Invocation[m.Done, m.Done]:
    """Answers a call with a result or an error."""
    if result is not None and len(result) > t.MAX_JSON:
        error = f"the result has {len(result)} characters; the limit is {t.MAX_JSON}"
        result = None
    cut = None if error is None else error[: t.MAX_TOOL_ERROR]
    return Invocation("tool.answer", build(t.ToolAnswer, name=name, id=id, result=result, error=cut), m.Done, itself)


def append_with_tools(
    pid: int, messages: Sequence[ChatMessage], tools: Json = None, origin: Origin | None = None
) -> Invocation[m.Appended, m.Appended]:
    """Appends messages, and tells the model what it may call."""
    text = None if tools is None else msgspec.json.encode(tools).decode()
    request = build(m.Append, pid=pid, messages=tuple(messages), tools=text, origin=origin)
    return Invocation("ctx.append", request, m.Appended, itself)


def _value(name: str, reply: t.ToolResult) -> Json:
    if reply.error:
        raise ToolFailed(reply.error, f"the tool {name} was called and failed")
    try:
        value: Json = msgspec.json.decode(reply.result)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ToolFailed(f"its result cannot be read: {error}", f"the tool {name} was called and failed") from None
    return value
