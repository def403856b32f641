"""Calls in what models write, in each format; and what is an answer though it looks like one."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from llmos.syscalls.abi.words import ToolFormat
from llmos.syscalls.sdk.tool_calls import BadCall, FoundCall, calls_in

NAMES = frozenset({"add", "weather", "bob/add"})
ONE = [FoundCall("add", {"a": 1})]
TWO = [*ONE, FoundCall("weather", {})]


@pytest.mark.parametrize(
    ("format", "text", "calls"),
    [
        (ToolFormat.HERMES, '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>', ONE),
        (
            ToolFormat.HERMES,
            'Let me see.\n<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>\n'
            '<tool_call>{"name": "weather", "arguments": {}}</tool_call>',
            TWO,
        ),
        (ToolFormat.HERMES, '<tool_call>[{"name": "add", "arguments": {"a": 1}}]', ONE),
        (ToolFormat.LLAMA, '{"name": "add", "parameters": {"a": 1}}', ONE),
        (ToolFormat.LLAMA, '<|python_tag|>{"type": "function", "name": "add", "parameters": {"a": 1}}', ONE),
        (ToolFormat.LLAMA, '{"name": "add", "parameters": {"a": 1}}; {"name": "weather"}', TWO),
        (ToolFormat.LLAMA, "<|python_tag|>add.call(a=1)", ONE),
        (ToolFormat.LLAMA, "[add(a=1), weather()]", TWO),
        (ToolFormat.LLAMA, 'add(a={"b": [1, None]})', [FoundCall("add", {"a": {"b": [1, None]}})]),
        (ToolFormat.MISTRAL, '[TOOL_CALLS][{"name": "add", "arguments": {"a": 1}}, {"name": "weather"}]', TWO),
        (ToolFormat.MISTRAL, '[{"name": "add", "arguments": {"a": 1}, "id": "abcdefghi"}]', ONE),
        (ToolFormat.MISTRAL, '[TOOL_CALLS]add[ARGS]{"a": 1}[TOOL_CALLS]weather[ARGS]{}', TWO),
        (ToolFormat.MISTRAL, 'add{"a": 1}weather{}', TWO),
        (ToolFormat.JSON, '```json\n{"name": "add", "arguments": {"a": 1}}\n```', ONE),
        (ToolFormat.JSON, '{"name": "add", "arguments": "{\\"a\\": 1}"}', ONE),
        (ToolFormat.JSON, '{"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}', ONE),
        (ToolFormat.JSON, '{"name": "add", "arguments": {"a": 1}}\n{"name": "weather"}\nDone.', TWO),
        (ToolFormat.JSON, '{"name": "bob/add", "arguments": {}}', [FoundCall("bob/add", {})]),
    ],
)
def test_calls_are_found_in_the_formats_of_templates(format: ToolFormat, text: str, calls: list[FoundCall]) -> None:
    assert list(calls_in(text, format, NAMES)) == calls


@pytest.mark.parametrize("format", list(ToolFormat))
@pytest.mark.parametrize(
    "text",
    [
        "",
        "Paris (the capital of France)",
        '{"name": "Bob", "age": 3}',
        '{"capital": "Paris"}',
        "[1, 2, 3]",
        "print(a=1)",
        'The call would be {"name": "add", "arguments": {}}',
        '{"name": "add", "arguments": 3}',
        '{"name": ["add"]}',
        "{" * 5000,
        "[" * 5000 + "]",
        "add(1)",
        "add(a=other())",
        '{"name": "add", "arguments": {"a": 1}} {"name": "Bob"}',
        '{"name": "add", "arguments": {"a": ' + "9" * 5000 + "}}",
        '{"name": "add", "arguments": {"a": NaN}}',
        "add(a={[]: 1})",
        "add(a={**b})",
        "add" + ".b" * 900 + "(a=1)",
    ],
)
def test_everything_else_is_an_answer(format: ToolFormat, text: str) -> None:
    assert list(calls_in(text, format, NAMES)) == []


@pytest.mark.parametrize("inside", ['{"name": "add", "argum', "add(a=1)", "", '{"arguments": {}}', "[1]"])
def test_what_a_formats_marks_enclose_and_is_no_call_is_a_bad_one(inside: str) -> None:
    (bad,) = calls_in(f"<tool_call>{inside}</tool_call>", ToolFormat.HERMES, NAMES)
    assert isinstance(bad, BadCall)
    assert "one JSON object" in bad.why


@given(st.sampled_from(list(ToolFormat)), st.text(st.sampled_from('{}[]()<>"\\:,;.=ad tool_call/|\n1'), max_size=60))
def test_no_text_breaks_the_reading(format: ToolFormat, text: str) -> None:
    calls_in(text, format, NAMES)
    calls_in(f"<tool_call>{text}</tool_call>", format, NAMES)
