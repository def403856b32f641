"""Requests and replies of tools; `table` says which belongs to which.

A tool is named `NAME` (the caller's own), `OWNER/NAME` or `@TENANT/NAME`. Arguments, results and schemas are JSON
texts.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from llmos.syscalls.abi.memory import OwnedName
from llmos.syscalls.abi.words import PidField, Record, Seconds

MAX_JSON = 1 << 20
"""Characters of arguments, and of a result."""

MAX_SCHEMA = 1 << 16
MAX_TOOL_ERROR = 1 << 14

JsonText = Annotated[str, Meta(max_length=MAX_JSON)]
CallId = Annotated[int, Meta(ge=1, lt=1 << 53)]


class ToolRegister(Record, frozen=True):
    """Offer a tool. The call stays open: its events are calls of the tool, to be answered with `tool.answer`; when it
    ends, the tool is gone.

    `schema` is a JSON schema (Draft 2020-12) of the arguments, an object, and refers to nothing outside itself.
    `timeout` is the longest that one call may take, in seconds; `at_once` how many calls may be open; `window` the
    first credit, in events.
    """

    name: OwnedName
    description: Annotated[str, Meta(max_length=1 << 14)] = ""
    schema: Annotated[str, Meta(max_length=MAX_SCHEMA)] = '{"type": "object"}'
    timeout: Seconds = 60.0
    at_once: Annotated[int, Meta(ge=1, le=1024)] = 16
    window: Annotated[int, Meta(ge=1, le=1 << 10)] = 64


class ToolCalled(Record, frozen=True):
    """Somebody calls the tool: answer with its id within `timeout` seconds.

    The caller is as the kernel knows it, and `pid` a process that it may act for. `cancelled`: the answer to the call
    with this id is not wanted any more; nothing else is set then. `offered` is set in the first event alone: the tool
    can be called from now on.
    """

    id: int = 0
    arguments: str = "{}"
    principal: str = ""
    tenant: str = ""
    role: str = ""
    pid: int | None = None
    timeout: float = 0.0
    cancelled: bool = False
    offered: bool = False


class ToolAnswer(Record, frozen=True):
    """The answer to a call: its result, or what went wrong. ENOENT when the call has ended by itself."""

    name: OwnedName
    id: CallId
    result: JsonText | None = None
    error: Annotated[str, Meta(max_length=MAX_TOOL_ERROR)] | None = None


class ToolList(Record, frozen=True):
    """List tools that the caller may call: all, or only those with these names."""

    names: Annotated[tuple[OwnedName, ...], Meta(max_length=1024)] = ()


class ToolInfo(Record, frozen=True):
    """One tool. `calls` have been answered, `open` are under way; `seconds` is how long one takes in the middle, as far
    as known. `timeout` in seconds.
    """

    name: str
    owner: str
    description: str
    schema: str
    timeout: float
    calls: int
    seconds: float | None = None
    open: int = 0
    at_once: int = 1


class Tools(Record, frozen=True):
    """Tools by owner and name."""

    tools: tuple[ToolInfo, ...]


class ToolCall(Record, frozen=True):
    """Call a tool. `arguments` is a JSON object; `pid` is the process for which it is called: it is `waiting` until the
    answer comes. `timeout` in seconds; the tool's own holds too.
    """

    name: OwnedName
    arguments: JsonText = "{}"
    pid: PidField | None = None
    timeout: Seconds | None = None


class ToolResult(Record, frozen=True):
    """What the tool answered, as JSON text, or what went wrong inside it; and how long it took, in seconds."""

    result: str
    seconds: float
    error: str = ""
