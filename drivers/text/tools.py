"""How a model is told what it can call, what its calls and their results look like, through its own chat template.

It does not know who offers tools. Rules: a template that writes tools does it in its own way; where it writes none, or
writes them at a place that the context has passed already, they are told in words (`in_words`), at the head of the
first message that is the system's or the user's. A template that refuses or leaves out messages of the role `tool` is
given them as the user's. What comes from outside goes through `mark`, so that no control token comes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

import msgspec

from llmos.drivers.text.template import ChatTemplate, Json, PlainCall, PlainMessage
from llmos.drivers.text.turns import STAND_IN_ID, continuation
from llmos.kernel.ports.text import Turn, TurnKind
from llmos.syscalls.abi.errors import InvalidArgument
from llmos.syscalls.abi.words import ChatMessage, MadeCall, Role, ToolFormat

Mark = Callable[[str], str]

_SIGNS = (("<tool_call>", ToolFormat.HERMES), ("[TOOL_CALLS]", ToolFormat.MISTRAL), ("ipython", ToolFormat.LLAMA))
"""What stands in the templates of models that were trained on a format."""

_FORMS = {
    ToolFormat.HERMES: '<tool_call>\n{"name": "NAME", "arguments": {...}}\n</tool_call>',
    ToolFormat.LLAMA: '{"name": "NAME", "parameters": {...}}',
    ToolFormat.MISTRAL: '[TOOL_CALLS][{"name": "NAME", "arguments": {...}}]',
    ToolFormat.JSON: '{"name": "NAME", "arguments": {...}}',
}
_SHAPE = '[{"type": "function", "function": {"name": ..., "description": ..., "parameters": {...}}}]'
_PROBE = "placeholder"
_MOST_DEPTH = 64


def format_of(template: ChatTemplate | None) -> ToolFormat:
    """The form in which a template asks for calls."""
    if template is None or not template.takes_tools:
        return ToolFormat.JSON
    return next((form for sign, form in _SIGNS if sign in template.literals), ToolFormat.JSON)


def read_tools(text: str, mark: Mark) -> list[Json]:
    """What a model may call, marked. Raises `InvalidArgument`."""
    try:
        tools: Json = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidArgument(f"the tools must be JSON: {error}", _SHAPE) from None
    if not isinstance(tools, list) or not tools:
        raise InvalidArgument("the tools must be a JSON array that is not empty", _SHAPE)
    for tool in tools:
        if not isinstance(_function(tool).get("name"), str):
            raise InvalidArgument("a tool has no function with a name", _SHAPE)
    return [_marked(tool, mark) for tool in tools]


def texts_of(message: ChatMessage) -> Iterator[str]:
    """Everything in a message that somebody wrote."""
    yield from (message.content, message.name or "", message.tool_call_id or "")
    for call in message.tool_calls:
        yield from (call.name, call.arguments, call.id)


def plain_message(message: ChatMessage, content: str, mark: Mark) -> PlainMessage:
    """A message as the template sees it; `content` is marked already."""
    return PlainMessage(
        message.role.value,
        content,
        tuple(_plain_call(call, mark) for call in message.tool_calls),
        None if message.name is None else mark(message.name),
        None if message.tool_call_id is None else mark(message.tool_call_id),
    )


def tool_continuation(
    template: ChatTemplate,
    messages: Sequence[PlainMessage],
    after: Turn,
    end_texts: Collection[str],
    tools: list[Json] | None,
    form: ToolFormat,
) -> str:
    """The text that continues a context, with the tools if there are any. Raises `InvalidArgument`."""
    if any(message.role == Role.TOOL for message in messages) and not _shows_results(template):
        messages = _as_users(messages)
    if tools is None:
        return continuation(template, messages, after, end_texts)
    if template.takes_tools:
        text = continuation(template.with_tools(tools), messages, after, end_texts)
        if text != continuation(template, messages, after, end_texts):
            return text
    return _told_in_words(template, messages, after, end_texts, in_words(tools, form))


def in_words(tools: Sequence[Json], form: ToolFormat) -> str:
    """What a model is told whose template does not tell it."""
    listed = "\n".join(msgspec.json.encode(_function(tool)).decode() for tool in tools)
    return (
        f"You can call these functions:\n{listed}\n\n"
        f"To call one, answer with nothing but its name and arguments, in this form:\n{_FORMS[form]}\n"
        "Its result comes back to you. When you know enough, answer in plain words."
    )


def _told_in_words(
    template: ChatTemplate, messages: Sequence[PlainMessage], after: Turn, end_texts: Collection[str], words: str
) -> str:
    if after.kind is TurnKind.EMPTY and messages[0].role != Role.SYSTEM:
        try:
            return continuation(template, [PlainMessage(Role.SYSTEM.value, words), *messages], after, end_texts)
        except InvalidArgument:
            pass  # it knows no system messages
    return continuation(template, _headed(messages, words), after, end_texts)


def _headed(messages: Sequence[PlainMessage], words: str) -> list[PlainMessage]:
    for number, message in enumerate(messages):
        if message.role in (Role.SYSTEM, Role.USER):
            headed = replace(message, content=f"{words}\n\n{message.content}")
            return [*messages[:number], headed, *messages[number + 1 :]]
    raise InvalidArgument(
        "this model's chat template tells no tools at this place",
        "append them with a message of the system or the user",
    )


def _shows_results(template: ChatTemplate) -> bool:
    asked = (PlainMessage(Role.USER.value, "a"), PlainMessage(Role.ASSISTANT.value, "b"))
    result = PlainMessage(Role.TOOL.value, _PROBE, name="c", tool_call_id=STAND_IN_ID)
    try:
        return _PROBE in template.render([*asked, result], True)
    except InvalidArgument:
        return False


def _as_users(messages: Sequence[PlainMessage]) -> list[PlainMessage]:
    """Results as words of the user; what is the user's in a row is one message, because roles must take turns there."""
    joined: list[PlainMessage] = []
    for message in messages:
        if message.role == Role.TOOL:
            source = f" of {message.name}" if message.name else ""
            message = PlainMessage(Role.USER.value, f"The result{source}:\n{message.content}")
        if joined and joined[-1].role == message.role == Role.USER:
            message = replace(message, content=f"{joined.pop().content}\n\n{message.content}")
        joined.append(message)
    return joined


def _plain_call(call: MadeCall, mark: Mark) -> PlainCall:
    try:
        arguments: Json = msgspec.json.decode(call.arguments)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidArgument(f"the arguments of a call of {call.name!r} must be JSON: {error}") from None
    if not isinstance(arguments, dict):
        raise InvalidArgument(f"the arguments of a call of {call.name!r} must be a JSON object")
    return PlainCall(
        mark(call.name), {mark(key): _marked(item, mark) for key, item in arguments.items()}, mark(call.id)
    )


def _function(tool: Json) -> dict[str, Json]:
    function = tool.get("function") if isinstance(tool, dict) else None
    return function if isinstance(function, dict) else {}


def _marked(value: Json, mark: Mark, depth: int = 0) -> Json:
    if depth > _MOST_DEPTH:
        raise InvalidArgument(f"JSON for a model may not be nested deeper than {_MOST_DEPTH}", "make it flatter")
    match value:
        case str():
            return mark(value)
        case list():
            return [_marked(item, mark, depth + 1) for item in value]
        case dict():
            return {mark(key): _marked(item, mark, depth + 1) for key, item in value.items()}
        case _:
            return value
