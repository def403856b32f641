"""`llmosctl tool`: how arguments are read, and what is refused before any daemon is asked."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from llmos.apps.llmosctl.main import run
from llmos.apps.llmosctl.tools import arguments_of

SCHEMA = '{"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}'


def test_values_are_json_where_the_tool_does_not_want_text() -> None:
    given = ("city=7", "days=2", "tags=[1]", "note=so so", "equation=a=b")
    assert arguments_of(given, None, SCHEMA) == {
        "city": "7",
        "days": 2,
        "tags": [1],
        "note": "so so",
        "equation": "a=b",
    }
    assert arguments_of(("days=3",), '{"city": "Paris", "days": 1}', SCHEMA) == {"city": "Paris", "days": 3}


@pytest.mark.parametrize(("given", "text"), [(("city",), None), (("=x",), None), ((), "{"), ((), "[1]")])
def test_what_are_no_arguments_is_wrong_usage(given: tuple[str, ...], text: str | None) -> None:
    with pytest.raises(click.UsageError):
        arguments_of(given, text, SCHEMA)


@pytest.mark.parametrize(
    "arguments",
    [("tool", "mount", "box"), ("tool", "mount", "box", "--url", "http://x", "--", "cat"), ("tool", "call")],
)
def test_wrong_usage_is_told(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert "error:" in capsys.readouterr().err


def test_neither_the_sdk_nor_llmosctl_loads_what_only_the_bridge_needs() -> None:
    program = (
        "import sys, llmos.apps.llmosctl.main, llmos.syscalls.sdk.blocking, llmos.syscalls.sdk.asynchronous\n"
        "print([name for name in ('mcp', 'pydantic', 'jsonschema', 'uvicorn', 'starlette') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
