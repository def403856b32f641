"""Which tools are offered, which calls of them are open, and what each app still has to be told.

Pure: `now` comes in, in seconds of a clock that never goes back. It does not know channels, processes or policies.
Rules:

- A call that was opened ends exactly once: `answered`, `given_up`, or with its tool by `withdraw`; after that its id
  means nothing.
- An app is told of a call, and then, if its answer is not wanted any more, that it is cancelled; in this order, once.
  Of a call that ended before the app heard of it, it hears nothing.
- Ids are not used twice while the registry lives.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from itertools import count

from llmos.kernel.gate.tools.durations import Durations, Experience
from llmos.kernel.security.names import OwnedName
from llmos.syscalls.abi.errors import AlreadyExists, LimitExceeded, NotFound, TryAgain
from llmos.syscalls.abi.messages import Metric
from llmos.syscalls.abi.tools import MAX_JSON, ToolCalled
from llmos.syscalls.abi.words import Pid


@dataclass(frozen=True, slots=True)
class ToolLimits:
    """How much of the daemon tools may take."""

    tools_each: int = 256
    """Tools that one principal may offer."""
    calls_each: int = 256
    """Calls that one principal may have open."""
    result_size: int = MAX_JSON
    """Characters of a result."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What somebody offers. `by` is the principal; `timeout` in seconds."""

    name: OwnedName
    by: str
    description: str
    schema: str
    timeout: float
    at_once: int


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls a tool, as the tool is told."""

    principal: str
    tenant: str
    role: str
    pid: Pid | None = None


@dataclass(slots=True, eq=False)
class Tool:
    """A tool that is offered. Written by the registry only."""

    offer: Offer
    durations: Durations
    open: dict[int, OpenCall] = field(default_factory=dict)
    untold: deque[OpenCall | ToolCalled] = field(default_factory=deque)
    """What its app has not been told yet, oldest first."""

    @property
    def title(self) -> str:
        """What it is called in what people read."""
        return f"{self.offer.name.owner}/{self.offer.name.name}"


@dataclass(slots=True, eq=False)
class OpenCall:
    """A call of a tool. `timeout` is how long it may take from `began`, in seconds."""

    id: int
    tool: Tool
    caller: Caller
    arguments: str
    timeout: float
    began: float
    told: bool = False


class Registry:
    """All tools and their open calls."""

    def __init__(self, limits: ToolLimits, first_id: int = 1) -> None:
        self._limits = limits
        self._ids = count(first_id)
        self._tools: dict[OwnedName, Tool] = {}
        self._experience = Experience()
        self._open = Counter[str]()
        self._offered = Counter[str]()
        self._opened = 0

    @property
    def tools(self) -> tuple[Tool, ...]:
        """All tools, by owner and name."""
        return tuple(self._tools[name] for name in sorted(self._tools, key=lambda name: (name.owner, name.name)))

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Counters and gauges, for `sys.metrics`."""
        return (
            Metric("tools_offered", float(len(self._tools)), "tools that can be called"),
            Metric("tool_calls_open", float(self._open.total()), "calls of tools that are under way"),
            Metric("tool_calls_total", float(self._opened), "calls of tools that were begun"),
        )

    def find(self, name: OwnedName) -> Tool | None:
        """The tool of this name, if it is offered."""
        return self._tools.get(name)

    def offer(self, offer: Offer) -> Tool:
        """A tool can be called from now on. Raises `AlreadyExists`, `LimitExceeded`."""
        if offer.name in self._tools:
            raise AlreadyExists(
                f"the tool {offer.name.owner}/{offer.name.name} is offered already",
                "choose another name, or end the program that offers it",
            )
        if self._offered[offer.by] >= self._limits.tools_each:
            raise LimitExceeded(
                f"{offer.by} offers {self._offered[offer.by]} tools; one principal may offer {self._limits.tools_each} "
                "(tools.tools_per_principal)",
                "end some, or offer one tool with more arguments",
            )
        tool = self._tools[offer.name] = Tool(offer, self._experience.of(offer.name))
        tool.untold.append(ToolCalled(offered=True))
        self._offered[offer.by] += 1
        return tool

    def withdraw(self, tool: Tool) -> tuple[OpenCall, ...]:
        """A tool is not offered any more; gives the calls that ended with it."""
        if self._tools.get(tool.offer.name) is not tool:
            return ()
        del self._tools[tool.offer.name]
        _less(self._offered, tool.offer.by)
        ended = tuple(tool.open.values())
        for call in ended:
            self._close(call)
        tool.untold.clear()
        return ended

    def check_room(self, tool: Tool, caller: Caller, now: float) -> None:
        """Raise `TryAgain` when the tool or the caller has as many calls open as may be."""
        if len(tool.open) >= tool.offer.at_once:
            raise TryAgain(f"the tool {tool.title} has {len(tool.open)} calls open, the most it takes", _eta(tool, now))
        if self._open[caller.principal] >= self._limits.calls_each:
            raise TryAgain(
                f"{caller.principal} has {self._open[caller.principal]} calls of tools open, "
                "the most one principal may have (tools.calls_per_principal)",
                "wait for some of them",
            )

    def open(self, tool: Tool, caller: Caller, arguments: str, timeout: float, now: float) -> OpenCall:
        """Begin a call for which there is room."""
        call = OpenCall(next(self._ids), tool, caller, arguments, timeout, now)
        tool.open[call.id] = call
        tool.untold.append(call)
        self._open[caller.principal] += 1
        self._opened += 1
        return call

    def answered(self, tool: Tool, id: int, now: float) -> OpenCall:
        """The app has answered: the call has ended. Raises `NotFound`."""
        call = tool.open.get(id)
        if call is None or not call.told:
            raise NotFound(f"the tool {tool.title} has no call {id} open", "its caller has left, or it took too long")
        self._close(call)
        tool.durations.add(now - call.began)
        return call

    def given_up(self, call: OpenCall) -> bool:
        """Nobody wants the answer any more: the call has ended; False when it had already."""
        if call.tool.open.get(call.id) is not call:
            return False
        self._close(call)
        if call.told:
            call.tool.untold.append(ToolCalled(call.id, cancelled=True))
        else:
            call.tool.untold.remove(call)
        return True

    def tell_next(self, tool: Tool, now: float) -> ToolCalled | None:
        """What the app is to be told now, and counts as told."""
        if not tool.untold:
            return None
        match tool.untold.popleft():
            case ToolCalled() as event:
                return event
            case OpenCall() as call:
                call.told = True
                return _event(call, now)

    def _close(self, call: OpenCall) -> None:
        del call.tool.open[call.id]
        _less(self._open, call.caller.principal)


def _event(call: OpenCall, now: float) -> ToolCalled:
    who = call.caller
    left = max(0.0, call.began + call.timeout - now)
    return ToolCalled(call.id, call.arguments, who.principal, who.tenant, who.role, who.pid, left)


def _eta(tool: Tool, now: float) -> str:
    typical = tool.durations.typical
    if typical is None:
        return "try again when one has ended; how long they take is not known yet"
    oldest = min(call.began for call in tool.open.values())
    return f"in about {max(0.0, typical - (now - oldest)):.2g} s; a call takes {typical:.2g} s in the middle"


def _less(counter: Counter[str], name: str) -> None:
    counter[name] -= 1
    if not counter[name]:
        del counter[name]
