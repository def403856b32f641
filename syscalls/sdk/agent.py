"""The agent loop without IO: what the model is told, which calls its answer holds, and what comes of them.

Pure; used by the blocking and the asynchronous `run_tools`. The model's template and tokenizer are the kernel's, so it
puts tools and results into the conversation and says which format the model was told; the calls are read from the
text here, because that is a matter of models, which change, and no business of a kernel. Rules: at most so many rounds
and calls; what goes wrong in a call is told to the model, what goes wrong with the process is the caller's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from llmos.syscalls.abi.errors import Cancelled, Error, InvalidArgument, LimitExceeded, NoSuchProcess, NotFound
from llmos.syscalls.abi.messages import Appended, Generated
from llmos.syscalls.abi.tools import ToolInfo
from llmos.syscalls.abi.words import ChatMessage, FinishReason, Origin, OriginKind, Role, ToolFormat
from llmos.syscalls.sdk.requests import Invocation, SamplingOptions
from llmos.syscalls.sdk.tool_calls import BadCall, FoundCall, calls_in
from llmos.syscalls.sdk.tool_definitions import Definition, Function, Json, ToolCaller, define
from llmos.syscalls.sdk.tool_requests import append_with_tools

DEFAULT_TOKENS = 512
"""Tokens of one answer, unless the caller says otherwise: a call that is cut off is none."""

ANSWER = "answer"
"""Under this name a constrained answer in words stands."""

Wanted = str | Function


@dataclass(frozen=True, slots=True)
class AgentTool:
    """A tool as the model sees it. `target` is what is called: a name for the kernel, or a function of this program."""

    name: str
    description: str
    schema: Json
    target: str | Definition


@dataclass(frozen=True, slots=True)
class ToolUse:
    """One call that the model made, and what came of it; `result` is what it was told. `failed`: it was an error."""

    name: str
    arguments: Mapping[str, Json]
    result: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class ToolRun:
    """What came of the loop: the last text, how many answers the model wrote, and all calls.

    `complete` is False when a limit ended it before the model had answered without calls.
    """

    text: str
    rounds: int
    calls: tuple[ToolUse, ...]
    complete: bool
    finish_reason: FinishReason


@dataclass(frozen=True, slots=True)
class Planned:
    """A call to make now."""

    tool: AgentTool
    arguments: dict[str, Json]


def names_of(wanted: Sequence[Wanted] | None) -> tuple[str, ...] | None:
    """The names that the kernel is to be asked about; None for all that may be called, none for no question at all."""
    return None if wanted is None else tuple(one for one in wanted if isinstance(one, str))


def tools_of(wanted: Sequence[Wanted] | None, known: Sequence[ToolInfo], own: str) -> tuple[AgentTool, ...]:
    """What the model may call. `own` is the caller's name. Raises `NotFound`, `InvalidArgument`."""
    titles = {f"{info.owner}/{info.name}" for info in known}
    for name in names_of(wanted) or ():
        if name not in titles and f"{own}/{name}" not in titles:
            raise NotFound(f"there is no tool {name!r} that you may call", "llmosctl tool list")
    shared = Counter(info.name for info in known)
    remote = [
        AgentTool(
            info.name if shared[info.name] == 1 else f"{info.owner}/{info.name}",
            info.description,
            msgspec.json.decode(info.schema),
            f"{info.owner}/{info.name}",
        )
        for info in known
    ]
    local = [_local(one) for one in wanted or () if not isinstance(one, str)]
    tools = (*remote, *local)
    if not tools:
        raise InvalidArgument("there are no tools that could be called", "offer some, or give functions")
    if len({tool.name for tool in tools}) < len(tools):
        raise InvalidArgument("two of the tools have the same name", "functions are named as they are defined")
    return tools


@dataclass(slots=True, eq=False)
class AgentRun:
    """One loop: `begin`, then for each answer `take`, and `results` of what it asked for, until that is nothing."""

    pid: int
    tools: Sequence[AgentTool]
    max_rounds: int
    max_calls: int
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    constrain: bool = False
    format: ToolFormat = ToolFormat.JSON
    _text: str = ""
    _rounds: int = 0
    _complete: bool = False
    _reason: FinishReason = FinishReason.STOP
    _repeats: bool = False
    _uses: list[ToolUse] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.max_rounds < 1 or self.max_calls < 1:
            raise InvalidArgument("an agent needs at least one round and one call", "max_rounds and max_calls")

    def begin(self, question: str) -> Invocation[Appended, Appended]:
        """Tells the model what it may call, and what is asked."""
        shown: list[Json] = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.schema},
            }
            for tool in self.tools
        ]
        return append_with_tools(self.pid, [ChatMessage(Role.USER, question)], shown)

    def options(self) -> SamplingOptions:
        """How the next answer is generated.

        Constrained, it is a call or an answer in words, as JSON; in the last round, and when the model has begun to
        repeat itself, an answer in words.
        """
        options: SamplingOptions = {"max_tokens": DEFAULT_TOKENS, **self.sampling}
        if self.constrain:
            last = self._rounds + 1 >= self.max_rounds
            options["schema"] = _ANSWER_SCHEMA if last or self._repeats else _either_schema(self.tools)
        return options

    def begun(self, appended: Appended) -> None:
        """The kernel has told the model, and in which form."""
        self.format = appended.tool_format or self.format

    def take(self, answer: Generated) -> Sequence[Planned | BadCall]:
        """The calls that an answer asks for; none when the loop is over."""
        self._rounds += 1
        self._reason = answer.finish_reason
        self._text = answer.text.strip()
        if answer.finish_reason not in (FinishReason.STOP, FinishReason.LENGTH):
            return ()
        found = calls_in(answer.text, self.format, {tool.name for tool in self.tools})
        if not found:
            self._text = _in_words(self._text)
            self._complete = True
            return ()
        if self._rounds >= self.max_rounds or len(self._uses) + len(found) > self.max_calls:
            return ()
        return [self._planned(call) for call in found]

    def results(self, uses: Sequence[ToolUse]) -> Invocation[Appended, Appended]:
        """Tells the model what came of its calls, in their order."""
        first = len(self._uses)
        self._repeats = any(use == before for use in uses for before in self._uses)
        self._uses += uses
        named = {use.name for use in uses}
        origin = Origin(OriginKind.TOOL, name=named.pop() or None) if len(named) == 1 else None
        return append_with_tools(
            self.pid,
            [
                ChatMessage(Role.TOOL, use.result, name=use.name or None, tool_call_id=f"call{first + number:05}")
                for number, use in enumerate(uses)
            ],
            origin=origin,
        )

    def result(self) -> ToolRun:
        """What came of it."""
        return ToolRun(self._text, self._rounds, tuple(self._uses), self._complete, self._reason)

    def _planned(self, call: FoundCall | BadCall) -> Planned | BadCall:
        if isinstance(call, BadCall):
            return call
        tool = next((tool for tool in self.tools if tool.name == call.name), None)
        if tool is None:
            names = ", ".join(tool.name for tool in self.tools)
            return BadCall(call.name[:128], f"there is no function {call.name!r}; there are {names}")
        return Planned(tool, call.arguments)


def bad_use(call: BadCall) -> ToolUse:
    """What the model is told of something that is no call."""
    return ToolUse("", {"text": call.text}, f"error: {call.why}", failed=True)


def good_use(call: Planned, result: Json) -> ToolUse:
    """What the model is told of a result: text as it is, everything else as JSON."""
    text = result if isinstance(result, str) else msgspec.json.encode(result).decode()
    return ToolUse(call.tool.name, call.arguments, text)


def failed_use(call: Planned, error: Error) -> ToolUse:
    """What the model is told of an error; raises one that ends the loop."""
    if isinstance(error, LimitExceeded | NoSuchProcess | Cancelled):
        raise error
    return failed_function(call, error.message)


def failed_function(call: Planned, why: str) -> ToolUse:
    """What the model is told of a function of the program's own that failed."""
    return ToolUse(call.tool.name, call.arguments, f"error: {why}", failed=True)


def _local(function: Function) -> AgentTool:
    definition = define(function)
    return AgentTool(definition.name, definition.description, msgspec.json.decode(definition.schema), definition)


def _either_schema(tools: Sequence[AgentTool]) -> dict[str, object]:
    return {
        "anyOf": [*(_call_schema(tool, number) for number, tool in enumerate(tools)), _ANSWER_SCHEMA],
        "$defs": {_place(number): _moved(tool.schema, number) for number, tool in enumerate(tools)},
    }


def _place(number: int) -> str:
    return f"tool{number}"


def _moved(schema: Json, number: int) -> Json:
    """A schema as a part of a larger one: what it refers to is deeper there."""
    match schema:
        case dict():
            return {key: _reference(key, value, number) for key, value in schema.items()}
        case list():
            return [_moved(value, number) for value in schema]
        case _:
            return schema


def _reference(key: str, value: Json, number: int) -> Json:
    if key == "$ref" and isinstance(value, str) and value.startswith("#"):
        return f"#/$defs/{_place(number)}{value[1:]}"
    return _moved(value, number)


def _call_schema(tool: AgentTool, number: int) -> dict[str, object]:
    return {
        "type": "object",
        "properties": {"name": {"const": tool.name}, "arguments": {"$ref": f"#/$defs/{_place(number)}"}},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


_ANSWER_SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {ANSWER: {"type": "string"}},
    "required": [ANSWER],
    "additionalProperties": False,
}


def _in_words(text: str) -> str:
    """A constrained answer without its JSON; any other as it is."""
    try:
        answer = msgspec.json.decode(text, type=dict[str, str])
    except (msgspec.DecodeError, RecursionError):
        return text
    return answer[ANSWER] if answer.keys() == {ANSWER} else text


def run_function(definition: Definition, arguments: Mapping[str, Json], caller: ToolCaller) -> Json:
    """Call a function of the program's own; raises whatever it raises."""
    return json_value(definition.function(**keywords(definition, arguments, caller)))


def keywords(definition: Definition, arguments: Mapping[str, Json], caller: ToolCaller) -> dict[str, object]:
    """What a function of the program's own is called with."""
    return definition.keywords(msgspec.json.encode(arguments).decode(), caller)


def json_value(value: object) -> Json:
    """A result as JSON has it. Raises `TypeError` or `UnicodeEncodeError` for what JSON cannot hold."""
    plain: Json = msgspec.json.decode(msgspec.json.encode(value))
    return plain
