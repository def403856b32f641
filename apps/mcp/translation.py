"""Between the two worlds: names, schemas and results. Pure."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from mcp_types import CallToolResult, TextContent, Tool

from llmos.syscalls.abi.errors import Error
from llmos.syscalls.abi.tools import ToolInfo
from llmos.syscalls.sdk.tool_definitions import Json

LONGEST_NAME = 64
_OTHER = re.compile(r"[^A-Za-z0-9._@-]")


class ToolError(Exception):
    """What the server of a tool says went wrong inside it."""


def mounted_name(mount: str, tool: str) -> str:
    """What a server's tool is called here: `MOUNT.TOOL`, of the letters that names have."""
    return f"{mount}.{_OTHER.sub('_', tool)}"[:LONGEST_NAME]


def mounted_schema(tool: Tool) -> dict[str, object]:
    """The schema of a server's tool; which older dialect it says it is makes no difference to what is checked here."""
    return {"type": "object"} | {
        key: value for key, value in tool.input_schema.items() if key not in ("$schema", "$id")
    }


def result_of(result: CallToolResult) -> Json:
    """What a server answered: its structure, else its text. Raises `ToolError`."""
    texts = [block.text if isinstance(block, TextContent) else block.model_dump_json() for block in result.content]
    if result.is_error:
        raise ToolError("\n".join(texts) or "the server does not say what")
    if result.structured_content is not None:
        value: Json = result.structured_content
        return value
    return texts[0] if len(texts) == 1 else list(texts)


def shown_names(tools: Sequence[ToolInfo]) -> Mapping[str, ToolInfo]:
    """Tools of llmos by the names that MCP clients see: short ones, with the owner where two have the same."""
    shared = Counter(tool.name for tool in tools)
    return {tool.name if shared[tool.name] == 1 else f"{tool.owner}.{tool.name}": tool for tool in tools}


def shown_tool(name: str, tool: ToolInfo) -> Tool:
    """A tool of llmos as MCP clients see it."""
    return Tool(name=name, description=tool.description, input_schema=json.loads(tool.schema))


def shown_result(value: Json) -> CallToolResult:
    """A result as MCP clients see it: its text, and its structure when it has one."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    structure = value if isinstance(value, dict) else None
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=structure)


def shown_error(error: Error) -> CallToolResult:
    """An error as MCP clients see it, so that a model can read it."""
    text = f"{error.message} ({error.hint})" if error.hint else error.message
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)
