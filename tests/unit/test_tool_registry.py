"""The registry of tools: who offers what, which calls are open, what an app is told, and when there is no room."""

from __future__ import annotations

import pytest

from llmos.kernel.gate.tools.durations import LATEST, MOST_TOOLS, Experience
from llmos.kernel.gate.tools.registry import Caller, Offer, OpenCall, Registry, Tool, ToolLimits
from llmos.kernel.security.names import OwnedName
from llmos.syscalls.abi.errors import AlreadyExists, LimitExceeded, NotFound, TryAgain
from llmos.syscalls.abi.words import Pid

WEATHER = OwnedName("bob", "weather")
ALICE = Caller("alice", "default", "developer", Pid(7))


def offer(name: OwnedName = WEATHER, by: str = "bob", at_once: int = 2, timeout: float = 9.0) -> Offer:
    """Something to offer."""
    return Offer(name, by, "tells the weather", '{"type": "object"}', timeout, at_once)


def call(registry: Registry, tool: Tool, now: float = 0.0, caller: Caller = ALICE) -> OpenCall:
    """A call, if there is room."""
    registry.check_room(tool, caller, now)
    return registry.open(tool, caller, '{"city": "Paris"}', 9.0, now)


def test_an_app_is_told_that_its_tool_is_offered_then_who_calls_it_with_what_and_how_long_there_is() -> None:
    registry = Registry(ToolLimits(), first_id=40)
    tool = registry.offer(offer())
    opened = call(registry, tool, now=1.0)
    first = registry.tell_next(tool, 1.0)
    assert first is not None
    assert first.offered
    told = registry.tell_next(tool, 4.0)
    assert told is not None
    assert (told.id, told.arguments, told.timeout) == (40, '{"city": "Paris"}', 6.0)
    assert (told.principal, told.tenant, told.role, told.pid) == ("alice", "default", "developer", 7)
    assert registry.tell_next(tool, 4.0) is None
    assert registry.answered(tool, 40, 5.0) is opened
    assert (tool.durations.calls, tool.durations.typical) == (1, 4.0)


def test_a_name_is_offered_once_and_can_be_offered_again_when_it_is_gone() -> None:
    registry = Registry(ToolLimits())
    tool = registry.offer(offer())
    with pytest.raises(AlreadyExists, match="bob/weather"):
        registry.offer(offer(by="chief"))
    assert registry.withdraw(tool) == ()
    assert registry.withdraw(tool) == ()
    assert registry.find(WEATHER) is None
    assert registry.offer(offer()) is registry.find(WEATHER)


def test_the_calls_of_a_tool_end_with_it() -> None:
    registry = Registry(ToolLimits())
    tool = registry.offer(offer())
    opened = [call(registry, tool), call(registry, tool)]
    assert list(registry.withdraw(tool)) == opened
    assert not registry.given_up(opened[0])
    with pytest.raises(NotFound):
        registry.answered(tool, opened[0].id, 1.0)
    assert registry.tell_next(tool, 1.0) is None


def test_a_call_that_nobody_wants_any_more_is_cancelled_once_after_it_was_told_and_forgotten_before() -> None:
    registry = Registry(ToolLimits())
    tool = registry.offer(offer())
    registry.tell_next(tool, 0.0)
    told, untold = call(registry, tool), call(registry, tool)
    assert registry.tell_next(tool, 0.0) is not None
    assert registry.given_up(untold)
    assert registry.given_up(told)
    assert not registry.given_up(told)
    cancelled = registry.tell_next(tool, 0.0)
    assert cancelled is not None
    assert (cancelled.id, cancelled.cancelled) == (told.id, True)
    assert registry.tell_next(tool, 0.0) is None
    with pytest.raises(NotFound, match=f"no call {told.id} open"):
        registry.answered(tool, told.id, 1.0)


def test_a_call_cannot_be_answered_before_the_app_was_told_of_it() -> None:
    registry = Registry(ToolLimits())
    tool = registry.offer(offer())
    opened = call(registry, tool)
    with pytest.raises(NotFound):
        registry.answered(tool, opened.id, 1.0)


def test_a_full_tool_says_when_there_is_room_as_far_as_it_is_known() -> None:
    registry = Registry(ToolLimits())
    tool = registry.offer(offer(at_once=1))
    first = call(registry, tool, now=0.0)
    with pytest.raises(TryAgain, match="1 calls open") as refused:
        call(registry, tool, now=1.0)
    assert "not known yet" in refused.value.hint
    for _ in range(2):
        registry.tell_next(tool, 0.0)
    registry.answered(tool, first.id, 4.0)
    call(registry, tool, now=10.0)
    with pytest.raises(TryAgain) as refused:
        call(registry, tool, now=11.0)
    assert refused.value.hint.startswith("in about 3 s")


def test_one_principal_can_neither_offer_nor_call_without_end() -> None:
    registry = Registry(ToolLimits(tools_each=1, calls_each=1))
    tool = registry.offer(offer())
    with pytest.raises(LimitExceeded, match=r"tools\.tools_per_principal"):
        registry.offer(offer(OwnedName("bob", "other")))
    other = registry.offer(offer(OwnedName("eve", "other"), by="eve"))
    opened = call(registry, tool)
    with pytest.raises(TryAgain, match=r"tools\.calls_per_principal"):
        call(registry, other)
    call(registry, other, caller=Caller("eve", "default", "app"))
    registry.given_up(opened)
    call(registry, other)


def test_what_was_learnt_of_a_tool_stays_when_it_comes_back_and_is_bounded() -> None:
    experience = Experience()
    durations = experience.of(WEATHER)
    for number in range(LATEST * 3):
        durations.add(float(number))
    assert len(durations.latest) == LATEST
    assert experience.of(WEATHER) is durations
    for number in range(MOST_TOOLS):
        experience.of(OwnedName("eve", str(number)))
    assert experience.of(WEATHER) is not durations


def test_metrics_count_what_is_offered_and_called() -> None:
    registry = Registry(ToolLimits())
    tool = registry.offer(offer())
    first = call(registry, tool)
    call(registry, tool)
    for _ in ("it is offered", "it is called"):
        registry.tell_next(tool, 0.0)
    registry.answered(tool, first.id, 1.0)
    assert {metric.name: metric.value for metric in registry.metrics} == {
        "tools_offered": 1,
        "tool_calls_open": 1,
        "tool_calls_total": 2,
    }
