"""A chat template: messages in, text out, in a sandbox.

Templates come with the model and are programs of somebody else, so they run in jinja2's immutable sandbox.
They are given the names and the whitespace rules that transformers gives them, because they were written
against those.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.meta import find_undeclared_variables
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from llmos.syscalls.abi.errors import InvalidArgument

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True, slots=True)
class PlainCall:
    """A call that an assistant's message made."""

    name: str
    arguments: Json
    id: str


@dataclass(frozen=True, slots=True)
class PlainMessage:
    """A message as the template sees it. What is empty or None of the last three it does not see."""

    role: str
    content: str
    tool_calls: tuple[PlainCall, ...] = ()
    name: str | None = None
    tool_call_id: str | None = None

    def fields(self) -> dict[str, Json]:
        """The message as templates expect it, which were written for transformers."""
        calls: list[Json] = [
            {"type": "function", "id": call.id, "function": {"name": call.name, "arguments": call.arguments}}
            for call in self.tool_calls
        ]
        fields: dict[str, Json] = {"role": self.role, "content": self.content}
        if calls:
            fields["tool_calls"] = calls
        if self.name is not None:
            fields["name"] = self.name
        if self.tool_call_id is not None:
            fields["tool_call_id"] = self.tool_call_id
        return fields


class ChatTemplate:
    """A compiled template. Rendering is thread-safe."""

    def __init__(self, source: str, special_tokens: Mapping[str, str], now: Callable[[], datetime]) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _GenerationBlock]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = lambda form: now().strftime(form)
        self._special_tokens = dict(special_tokens)
        self._tools: list[Json] | None = None
        try:
            self._template = environment.from_string(source)
            tree = environment.parse(source)
            self.literals = _literals(tree)
            """All text that stands in the template itself, its pieces kept apart by NUL."""
            self.takes_tools = "tools" in find_undeclared_variables(tree)
            """Whether it writes what can be called."""
        except jinja2.TemplateError as error:
            raise InvalidArgument(f"the model's chat template is broken: {error}", NO_CHAT_HINT) from error

    def with_tools(self, tools: list[Json]) -> ChatTemplate:
        """The same template, told what can be called."""
        told = copy(self)
        told._tools = tools
        return told

    def render(self, messages: Sequence[PlainMessage], add_generation_prompt: bool) -> str:
        """The text of a conversation. Raises `InvalidArgument` when the template refuses it."""
        conversation = [message.fields() for message in messages]
        try:
            return self._template.render(
                messages=conversation,
                tools=self._tools,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **self._special_tokens,
            )
        except (jinja2.TemplateError, TypeError, ValueError, KeyError, LookupError, ArithmeticError) as error:
            raise InvalidArgument(f"the model's chat template refuses these messages: {error}") from error


NO_CHAT_HINT = "append plain text or tokens instead"


class _GenerationBlock(Extension):
    """`{% generation %}`, by which templates mark the assistant's words for training; here it only shows its body."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it so

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


def _literals(tree: nodes.Template) -> str:
    texts = [node.data for node in tree.find_all(nodes.TemplateData)]
    texts += [node.value for node in tree.find_all(nodes.Const) if isinstance(node.value, str)]
    return "\0".join(texts)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _to_json(
    value: Json,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Like transformers' filter: jinja2's own would escape characters of HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
