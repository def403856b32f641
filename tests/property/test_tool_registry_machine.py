"""Whatever happens to tools, every call of one ends exactly once, and its app hears of it in the right order."""

from __future__ import annotations

from collections import Counter

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from llmos.kernel.gate.tools.registry import Caller, Offer, OpenCall, Registry, Tool, ToolLimits
from llmos.kernel.security.names import OwnedName
from llmos.syscalls.abi.errors import AlreadyExists, LimitExceeded, NotFound, TryAgain

NAMES = tuple(OwnedName(owner, name) for owner in ("bob", "eve") for name in ("a", "b"))
LIMITS = ToolLimits(tools_each=2, calls_each=5)
pick = st.integers(0, 1000)


class RegistryMachine(RuleBasedStateMachine):
    """Apps come and go, callers call and leave, answers come early, late and twice."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry(LIMITS)
        self.now = 0.0
        self.tools: list[Tool] = []
        self.open: list[OpenCall] = []
        self.ended: list[OpenCall] = []
        self.told: dict[int, list[str]] = {}

    def ends(self, call: OpenCall) -> None:
        assert call not in self.ended
        self.open.remove(call)
        self.ended.append(call)

    @rule(name=st.sampled_from(NAMES), at_once=st.integers(1, 3))
    def offer(self, name: OwnedName, at_once: int) -> None:
        taken = any(tool.offer.name == name for tool in self.tools)
        try:
            self.tools.append(self.registry.offer(Offer(name, name.owner, "", "{}", 9.0, at_once)))
            assert not taken
        except AlreadyExists:
            assert taken
        except LimitExceeded:
            assert sum(tool.offer.by == name.owner for tool in self.tools) == LIMITS.tools_each

    @precondition(lambda self: self.tools)
    @rule(number=pick)
    def withdraw(self, number: int) -> None:
        tool = self.tools.pop(number % len(self.tools))
        for call in self.registry.withdraw(tool):
            self.ends(call)
        assert not [call for call in self.open if call.tool is tool]

    @precondition(lambda self: self.tools)
    @rule(number=pick, who=st.sampled_from(["alice", "carol"]))
    def call(self, number: int, who: str) -> None:
        tool, caller = self.tools[number % len(self.tools)], Caller(who, "default", "developer")
        try:
            self.registry.check_room(tool, caller, self.now)
        except TryAgain:
            mine = sum(call.caller.principal == who for call in self.open)
            assert len(tool.open) == tool.offer.at_once or mine == LIMITS.calls_each
            return
        opened = self.registry.open(tool, caller, "{}", 9.0, self.now)
        assert opened.id not in {call.id for call in (*self.open, *self.ended)}
        self.open.append(opened)

    @precondition(lambda self: self.tools)
    @rule(number=pick)
    def tell(self, number: int) -> None:
        event = self.registry.tell_next(self.tools[number % len(self.tools)], self.now)
        if event is not None and not event.offered:
            self.told.setdefault(event.id, []).append("cancelled" if event.cancelled else "called")
            assert self.told[event.id] in (["called"], ["called", "cancelled"])
            still = [call for call in self.open if call.id == event.id]
            assert bool(still) is not event.cancelled

    @precondition(lambda self: self.tools)
    @rule(number=pick, id=st.integers(0, 60), seconds=st.floats(0, 5))
    def answer(self, number: int, id: int, seconds: float) -> None:
        self.now += seconds
        tool = self.tools[number % len(self.tools)]
        try:
            call = self.registry.answered(tool, id, self.now)
        except NotFound:
            assert not [call for call in self.open if call.tool is tool and call.id == id and call.told]
        else:
            assert call.id == id
            self.ends(call)

    @precondition(lambda self: self.open or self.ended)
    @rule(number=pick)
    def give_up(self, number: int) -> None:
        everything = [*self.open, *self.ended]
        call = everything[number % len(everything)]
        if self.registry.given_up(call):
            self.ends(call)
        else:
            assert call in self.ended

    @invariant()
    def what_is_open_is_what_was_opened_and_has_not_ended(self) -> None:
        kept = [call for tool in self.registry.tools for call in tool.open.values()]
        assert Counter(map(id, kept)) == Counter(map(id, self.open))
        for tool in self.registry.tools:
            assert len(tool.open) <= tool.offer.at_once
            # Bounded although nobody reads: open calls, and a notice for each call that the app was told of.
            assert len(tool.untold) <= 1 + len(tool.open) + sum(heard == ["called"] for heard in self.told.values())


TestRegistry = RegistryMachine.TestCase
TestRegistry.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
