"""The agent loop on a model that follows a script: calls, errors, limits, and what it is told."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from llmos.syscalls.abi.errors import Cancelled, Error, InvalidArgument, LimitExceeded, NotFound, TimedOut
from llmos.syscalls.abi.messages import Append, Appended, Generated
from llmos.syscalls.abi.tools import ToolInfo
from llmos.syscalls.abi.words import FinishReason, Role, ToolFormat, Usage
from llmos.syscalls.sdk import agent
from llmos.syscalls.sdk.agent import AgentRun, AgentTool, Planned, ToolUse, tools_of
from llmos.syscalls.sdk.requests import schema_text
from llmos.syscalls.sdk.tool_calls import BadCall
from llmos.syscalls.sdk.tool_definitions import Definition, Json, ToolCaller

ADD = ToolInfo("add", "bob", "Adds.", '{"type": "object"}', 9.0, 0)
OTHER = ToolInfo("add", "eve", "Adds, too.", '{"type": "object"}', 9.0, 0)
WEATHER = ToolInfo("weather", "bob", "Tells.", '{"type": "object"}', 9.0, 0)
CALL = '{"name": "add", "arguments": {"a": 1}}'


def said(text: str, reason: FinishReason = FinishReason.STOP) -> Generated:
    """An answer of the model."""
    return Generated(text, (), reason, Usage(0, 0, 0, 0.0, 0.0))


def run_of(max_rounds: int = 8, max_calls: int = 32) -> AgentRun:
    """A loop with two tools."""
    return AgentRun(7, tools_of(None, [ADD, WEATHER], "alice"), max_rounds, max_calls)


def plan(run: AgentRun, text: str) -> Sequence[Planned | BadCall]:
    """What is to be called after an answer."""
    return run.take(said(text))


def only(calls: Sequence[Planned | BadCall]) -> Planned:
    """The one call of an answer."""
    (call,) = calls
    assert isinstance(call, Planned)
    return call


def test_a_question_goes_with_the_tools_and_the_format_comes_back() -> None:
    run = run_of()
    request = run.begin("What is 1 + 1?").request
    assert isinstance(request, Append)
    assert request.messages is not None
    assert request.messages[0].content == "What is 1 + 1?"
    told = json.loads(request.tools or "")
    assert [tool["function"]["name"] for tool in told] == ["add", "weather"]
    assert told[0]["function"] == {"name": "add", "description": "Adds.", "parameters": {"type": "object"}}
    run.begun(Appended(9, 9, ToolFormat.HERMES))
    assert run.format is ToolFormat.HERMES


def test_calls_and_results_go_on_until_an_answer_without_calls() -> None:
    run = run_of()
    calls = plan(run, f'{CALL}\n{{"name": "weather"}}')
    assert [call.tool.target for call in calls if isinstance(call, Planned)] == ["bob/add", "bob/weather"]
    results: tuple[Json, ...] = (2, "rain")
    uses = [agent.good_use(only([call]), result) for call, result in zip(calls, results, strict=True)]
    request = run.results(uses).request
    assert isinstance(request, Append)
    assert request.messages is not None
    assert [(m.role, m.content, m.name, m.tool_call_id) for m in request.messages] == [
        (Role.TOOL, "2", "add", "call00000"),
        (Role.TOOL, "rain", "weather", "call00001"),
    ]
    assert request.tools is None
    assert plan(run, " It is 2, and it rains.\n") == ()
    result = run.result()
    assert (result.text, result.rounds, result.complete) == ("It is 2, and it rains.", 2, True)
    assert [use.result for use in result.calls] == ["2", "rain"]


def test_what_goes_wrong_in_a_call_is_told_to_the_model() -> None:
    call = only(plan(run_of(), CALL))
    assert agent.failed_use(call, TimedOut("too slow")).result == "error: too slow"
    assert agent.failed_function(call, "ValueError: x") == ToolUse("add", {"a": 1}, "error: ValueError: x", True)


@pytest.mark.parametrize("error", [LimitExceeded("no more"), Cancelled("gone")])
def test_what_goes_wrong_with_the_process_is_the_callers(error: Error) -> None:
    with pytest.raises(type(error)):
        agent.failed_use(only(plan(run_of(), CALL)), error)


def test_a_call_of_no_tool_and_a_call_that_is_none_are_told_to_the_model() -> None:
    run = run_of()
    run.begun(Appended(1, 1, ToolFormat.HERMES))
    (unknown,) = plan(run, '<tool_call>{"name": "dance", "arguments": {}}</tool_call>')
    assert isinstance(unknown, BadCall)
    assert "there is no function 'dance'; there are add, weather" in agent.bad_use(unknown).result
    (broken,) = plan(run, '<tool_call>{"name": "add", </tool_call>')
    assert isinstance(broken, BadCall)
    request = run.results([agent.bad_use(broken)]).request
    assert isinstance(request, Append)
    assert request.messages is not None
    assert request.messages[0].name is None
    assert run.result().calls[0].failed


def test_rounds_and_calls_have_limits() -> None:
    run = run_of(max_rounds=2)
    assert plan(run, CALL)
    run.results([ToolUse("add", {}, "2")])
    assert plan(run, CALL) == ()
    assert (run.result().complete, run.result().rounds, run.result().text) == (False, 2, CALL)
    few = run_of(max_calls=1)
    assert plan(few, f"{CALL}\n{CALL}") == ()
    assert not few.result().complete


@pytest.mark.parametrize("reason", [FinishReason.CANCELLED, FinishReason.KILLED, FinishReason.LIMIT])
def test_a_generation_that_was_ended_ends_the_loop(reason: FinishReason) -> None:
    run = run_of()
    assert run.take(said(CALL, reason)) == ()
    assert (run.result().complete, run.result().finish_reason) == (False, reason)


def constrained(tools: Sequence[AgentTool], max_rounds: int = 8) -> AgentRun:
    """A loop whose answers are constrained."""
    return AgentRun(7, tools, max_rounds, 32, {"temperature": 0.5}, constrain=True)


def branches(run: AgentRun) -> list[list[str]]:
    """What the next answer may be."""
    schema = json.loads(schema_text(run.options()["schema"]) or "")
    return [list(one["properties"]) for one in schema.get("anyOf", [schema])]


def test_a_constrained_answer_is_a_call_or_words() -> None:
    run = constrained(run_of().tools)
    assert (run.options()["max_tokens"], run.options()["temperature"]) == (agent.DEFAULT_TOKENS, 0.5)
    assert branches(run) == [["name", "arguments"], ["name", "arguments"], ["answer"]]
    assert "schema" not in run_of().options()
    assert plan(run, '{"answer": "It is 2."}') == ()
    assert run.result().text == "It is 2."


def test_a_constrained_model_that_repeats_itself_or_is_in_its_last_round_answers_in_words() -> None:
    run = constrained(run_of().tools)
    for told in ([], [ToolUse("add", {"a": 1}, "2")]):
        assert len(branches(run)) == 3, told
        run.results([agent.good_use(only(plan(run, CALL)), 2)])
    assert branches(run) == [["answer"]]
    assert branches(constrained(run.tools, max_rounds=1)) == [["answer"]]


def test_what_a_tools_schema_refers_to_is_found_inside_the_constraint() -> None:
    nested: Json = {"type": "object", "properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"$ref": "#"}}}
    schema = json.loads(schema_text(constrained([AgentTool("t", "", nested, "bob/t")]).options()["schema"]) or "")
    assert schema["$defs"]["tool0"] == {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/tool0/$defs/b"}},
        "$defs": {"b": {"$ref": "#/$defs/tool0"}},
    }


def test_tools_with_one_name_are_told_apart_by_their_owners() -> None:
    names = [tool.name for tool in tools_of(None, [ADD, OTHER, WEATHER], "alice")]
    assert names == ["bob/add", "eve/add", "weather"]


def add(a: int) -> int:
    """Adds."""
    return a + 1


def test_names_are_those_of_the_caller_or_whole_and_functions_are_called_here() -> None:
    (remote, local) = tools_of(["weather", add], [WEATHER], "bob")
    assert remote.target == "bob/weather"
    assert isinstance(local.target, Definition)
    assert agent.run_function(local.target, {"a": 1}, ToolCaller("bob", "", "", 7)) == 2
    with pytest.raises(NotFound):
        tools_of(["weather"], [WEATHER], "alice")
    with pytest.raises(InvalidArgument, match="same name"):
        tools_of(["add", add], [ADD], "bob")
    with pytest.raises(InvalidArgument, match="at least one"):
        run_of(max_calls=0)
