"""Calls of tools in what a model has written, in the formats of known templates.

Pure. The kernel says which format a model was told; generated text has no special tokens (`[TOOL_CALLS]`, a python tag)
any more, so their absence means nothing. Rules: what a format's own marks enclose is a call, well formed or not; JSON
without marks is one only when it names a tool; everything else is an answer.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from json import JSONDecoder

from llmos.syscalls.abi.words import ToolFormat
from llmos.syscalls.sdk.tool_definitions import Json

_HERMES = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)
_MISTRAL = re.compile(r"\s*(?:\[TOOL_CALLS\]\s*)?([\w./@-]+)\s*(?:\[CALL_ID\]\w+\s*)?(?:\[ARGS\])?\s*(?=\{)")
_PYTHON_TAG = "<|python_tag|>"
_FENCE = re.compile(r"\A\s*```(?:json|python|tool_code)?\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)
_BETWEEN = re.compile(r"[\s;,]*")


def _no_number(word: str) -> Json:
    raise ValueError(f"JSON has no {word}")


_DECODER = JSONDecoder(parse_constant=_no_number)
"""Raises `ValueError` for what is no JSON, and for numbers too long to be read."""


@dataclass(frozen=True, slots=True)
class FoundCall:
    """A call that the model makes."""

    name: str
    arguments: dict[str, Json]


@dataclass(frozen=True, slots=True)
class BadCall:
    """Something that was meant as a call and is none; `why` is for the model."""

    text: str
    why: str


def calls_in(text: str, format: ToolFormat, names: Collection[str]) -> Sequence[FoundCall | BadCall]:
    """The calls in a text, in order; none when it is an answer."""
    marked = [found for part in _HERMES.findall(text) for found in _enclosed(part)]
    if marked:
        return marked
    bare = text.replace(_PYTHON_TAG, "").replace("[TOOL_CALLS]", "").strip()
    if fenced := _FENCE.match(bare):
        bare = fenced[1].strip()
    if format is ToolFormat.MISTRAL and (named := list(_named(bare, names))):
        return named
    found = [call for value in _leading_values(bare) for call in _calls_of(value)]
    if found and all(call.name in names for call in found):
        return found
    return list(_python_calls(bare, names))


def _enclosed(part: str) -> list[FoundCall | BadCall]:
    values = list(_leading_values(part.strip()))
    found = [call for value in values for call in _calls_of(value)]
    why = 'a call must be one JSON object with "name" and "arguments"'
    return list(found) or [BadCall(part.strip(), why)]


def _leading_values(text: str) -> Iterator[Json]:
    """JSON objects and arrays at the beginning of a text, one behind the other."""
    place = 0
    while place < len(text) and text[place] in "{[":
        try:
            value, place = _DECODER.raw_decode(text, place)
        except (ValueError, RecursionError):
            return
        yield value
        between = _BETWEEN.match(text, place)
        place = between.end() if between is not None else len(text)


def _calls_of(value: Json) -> Iterator[FoundCall]:
    match value:
        case list():
            for item in value:
                yield from _calls_of(item) if isinstance(item, dict) else ()
        case {"function": dict(function)}:
            yield from _calls_of(function)
        case {"name": str(name), "arguments": given} | {"name": str(name), "parameters": given}:
            arguments = _object(given) if isinstance(given, str) else given
            if isinstance(arguments, dict):
                yield FoundCall(name, arguments)
        case {"name": str(name)}:
            yield FoundCall(name, {})


def _object(text: str) -> Json:
    """Arguments that are JSON in a text, as some models write them."""
    return next(_leading_values(text.strip()), None)


def _named(text: str, names: Collection[str]) -> Iterator[FoundCall]:
    """`NAME{...}NAME{...}`, the newer form of Mistral's."""
    place = 0
    while (found := _MISTRAL.match(text, place)) is not None and found[1] in names:
        try:
            value, place = _DECODER.raw_decode(text, found.end())
        except (ValueError, RecursionError):
            return
        yield FoundCall(found[1], value)


def _python_calls(text: str, names: Collection[str]) -> Iterator[FoundCall]:
    """`NAME(key="value")`, `NAME.call(key="value")`, or a list of them, as Llama's python tag has it."""
    if not text.endswith((")", "]")):
        return
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in tree.elts if isinstance(tree, ast.List) else [tree]:
        call = _python_call(node)
        if call is not None and call.name in names:
            yield call


def _python_call(node: ast.expr) -> FoundCall | None:
    if not isinstance(node, ast.Call) or node.args:
        return None
    try:
        name = ast.unparse(node.func).removesuffix(".call")
        given = {keyword.arg: ast.literal_eval(keyword.value) for keyword in node.keywords}
    except (ValueError, TypeError, RecursionError):
        # The second for what is no key of a dict.
        return None
    return FoundCall(name, {key: value for key, value in given.items() if key is not None})
