"""The calls about tools: one principal offers, others call, and every call is answered once, whatever happens.

What is offered and open is in the registry; here are the channels, the timers and the processes that wait. Rules: a
call is checked (name, room, arguments, the process's limit) before anything changes; who calls is told to the tool as
the membrane knows it; arguments and results are in no log.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from llmos.kernel.core import events as ev
from llmos.kernel.core.authority import Authorized
from llmos.kernel.gate.calls.checks import Checks
from llmos.kernel.gate.calls.handler import Handler, row
from llmos.kernel.gate.calls.tool_channels import CallInProgress, Offering
from llmos.kernel.gate.channel import Channel, Ending
from llmos.kernel.gate.tools.registry import Caller, Offer, Registry, Tool, ToolLimits
from llmos.kernel.gate.tools.schemas import STEPS_AT_ONCE, STEPS_BESIDE, ArgumentSchema, OutOfSteps
from llmos.kernel.loop.shell import Shell
from llmos.kernel.security.denial import no_such
from llmos.kernel.security.membrane import Membrane
from llmos.kernel.security.names import OwnedName, owned_name
from llmos.kernel.security.objects import Target, named_by
from llmos.syscalls.abi import tools as t
from llmos.syscalls.abi.errors import Cancelled, DeviceError, Error, InvalidArgument, MessageTooLong, NotFound, TimedOut
from llmos.syscalls.abi.messages import Done, Metric
from llmos.syscalls.abi.words import Pid

AT_ONCE = 4096
"""Characters of arguments that are checked in the loop itself."""

MOST_WAITING = 1 << 24
"""Characters of schemas and arguments of one caller that may wait to be checked."""


class ToolCalls:
    """One method per call."""

    def __init__(self, shell: Shell, membrane: Membrane, checks: Checks, limits: ToolLimits, first_id: int = 1) -> None:
        self._shell = shell
        self._membrane = membrane
        self._checks = checks
        self._limits = limits
        self._registry = Registry(limits, first_id)
        self._offerings: dict[Tool, Offering] = {}
        self._calls: dict[int, CallInProgress] = {}
        shell.on_exited.append(self._exited)

    def handlers(self) -> dict[str, Handler]:
        """By the names of the calls."""
        return dict(
            (
                row("tool.register", t.ToolRegister, self.register),
                row("tool.answer", t.ToolAnswer, self.answer),
                row("tool.list", t.ToolList, self.list),
                row("tool.call", t.ToolCall, self.call),
            )
        )

    def metrics(self) -> tuple[Metric, ...]:
        """What is offered and called, for `sys.metrics`."""
        return self._registry.metrics

    def register(self, by: Authorized, request: t.ToolRegister, channel: Channel) -> None:
        name = owned_name(request.name, by.principal.name, "tool")
        offer = Offer(name, by.principal.name, request.description, request.schema, request.timeout, request.at_once)

        def offered(schema: ArgumentSchema) -> None:
            if channel.over:
                return
            tool = self._registry.offer(offer)
            offering = self._offerings[tool] = Offering(self._shell.loop, self._registry, tool, schema, channel)
            channel.on_end(lambda ending: self._withdrawn(tool, ending, channel))
            channel.on_credit(offering.serve)
            offering.serve()

        self._checks.check(by, len(request.schema), lambda: ArgumentSchema(request.schema), offered, channel)

    def answer(self, by: Authorized, request: t.ToolAnswer, channel: Channel) -> None:
        tool = self._find(by, request.name)
        if (request.result is None) == (request.error is None):
            raise InvalidArgument("an answer is exactly one of a result and an error")
        if request.result is not None:
            self._check_result(request.result)
        now = self._shell.now
        call = self._registry.answered(tool, request.id, now)
        seconds = now - call.began
        self._calls.pop(call.id).reply(t.ToolResult(request.result or "null", seconds, request.error or ""))
        channel.reply(Done())

    def list(self, by: Authorized, request: t.ToolList, channel: Channel) -> None:
        who = by.principal
        wanted = {owned_name(name, who.name, "tool") for name in request.names}
        channel.reply(
            t.Tools(
                tuple(
                    _info(tool)
                    for tool in self._registry.tools
                    if (not wanted or tool.offer.name in wanted)
                    and self._membrane.permits(who, self._target(by, tool.offer.name), "tool.call")
                )
            )
        )

    def call(self, by: Authorized, request: t.ToolCall, channel: Channel) -> None:
        who, pid = by.principal, Pid(request.pid) if request.pid is not None else None
        # Who may append to a process may act in its name.
        process = self._membrane.authorize_process(who, pid, "ctx.append") if pid is not None else None
        caller = Caller(who.name, who.tenant, who.role, pid)
        tool = self._find(by, request.name)
        self._registry.check_room(tool, caller, self._shell.now)

        def fits(_: None) -> None:
            if not channel.over:
                self._begin(by, process, request, caller, tool, channel)

        schema = self._offerings[tool].schema
        try:
            _check(schema, tool, request.arguments, STEPS_AT_ONCE if len(request.arguments) <= AT_ONCE else 0)
        except OutOfSteps:
            size = len(request.arguments)
            self._checks.check(by, size, lambda: _check_beside(schema, tool, request.arguments), fits, channel)
        else:
            fits(None)

    # --- inside

    def _begin(
        self,
        by: Authorized,
        process: Authorized | None,
        request: t.ToolCall,
        caller: Caller,
        tool: Tool,
        channel: Channel,
    ) -> None:
        """Everything was checked but what may have changed meanwhile."""
        if tool not in self._offerings:
            raise _no_such_tool(by)
        now, loop = self._shell.now, self._shell.loop
        self._registry.check_room(tool, caller, now)
        what = f"the tool {tool.title}"
        if process is not None and caller.pid is not None:
            self._shell.perform(process, ev.CallTool(caller.pid, what))
        own = tool.offer.timeout
        timeout = own if request.timeout is None else min(own, request.timeout)
        call = self._registry.open(tool, caller, request.arguments, timeout, now)
        timer = loop.call_later(timeout, self._timed_out, call.id)
        resume = self._resume(process, caller.pid, what)
        self._calls[call.id] = CallInProgress(call, channel, timer, resume)
        channel.on_end(lambda ending: self._given_up(call.id))
        self._offerings[tool].serve()

    def _resume(self, process: Authorized | None, pid: Pid | None, what: str) -> Callable[[], None]:
        if process is None or pid is None:
            return lambda: None
        return lambda: self._shell.perform(process, ev.Resume(pid, what))

    def _timed_out(self, id: int) -> None:
        call = self._calls[id].call
        error = TimedOut(
            f"the tool {call.tool.title} did not answer within {call.timeout:g} s",
            f"it takes at most {call.tool.offer.timeout:g} s; `timeout` of the call says how long to wait",
        )
        self._give_up(id, error)

    def _given_up(self, id: int) -> None:
        """The caller has left or cancelled; the channel tells it what there is to tell."""
        self._give_up(id, None)

    def _give_up(self, id: int, error: Error | None) -> None:
        progress = self._calls.pop(id, None)
        if progress is not None:
            self._registry.given_up(progress.call)
            progress.end(error)
            self._offerings[progress.call.tool].serve_soon()

    def _withdrawn(self, tool: Tool, ending: Ending, channel: Channel) -> None:
        self._offerings.pop(tool, None)
        for call in self._registry.withdraw(tool):
            self._calls.pop(call.id).end(
                DeviceError(
                    f"the program that offers the tool {tool.title} went away before it answered",
                    "whether the tool has done its work is not known; llmosctl tool list",
                )
            )
        if ending is Ending.CANCELLED:
            channel.reply(Done())

    def _exited(self, pid: Pid) -> None:
        """Nobody is left in whose name the tool was called."""
        for id, progress in [*self._calls.items()]:
            if progress.call.caller.pid == pid:
                self._give_up(id, Cancelled(f"process {pid}, in whose name the tool was called, has exited"))

    def _find(self, by: Authorized, name: str) -> Tool:
        tool = self._registry.find(owned_name(name, by.principal.name, "tool"))
        if tool is None:
            raise _no_such_tool(by)
        return tool

    def _target(self, by: Authorized, name: OwnedName) -> Target:
        return named_by("tool", name, by.principal, self._membrane.holders)

    def _check_result(self, result: str) -> None:
        if len(result) > self._limits.result_size:
            raise MessageTooLong(
                f"the result has {len(result)} characters; the limit is {self._limits.result_size} (tools.result_size)",
                "answer with less, or with the name of a file",
            )
        try:
            msgspec.json.decode(result, type=msgspec.Raw)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
            raise InvalidArgument(f"the result must be JSON: {error}") from None


def _check(schema: ArgumentSchema, tool: Tool, arguments: str, steps: int) -> None:
    if not steps:
        raise OutOfSteps
    try:
        schema.check(arguments, steps)
    except InvalidArgument as error:
        raise InvalidArgument(f"{tool.title}: {error.message}", error.hint) from None


def _check_beside(schema: ArgumentSchema, tool: Tool, arguments: str) -> None:
    try:
        _check(schema.copy(), tool, arguments, STEPS_BESIDE)
    except OutOfSteps:
        raise InvalidArgument(
            f"{tool.title}: checking the arguments takes more than {STEPS_BESIDE} steps", "give less at once"
        ) from None


def _no_such_tool(by: Authorized) -> Error:
    error = no_such(Target(by.object, by.tenant))
    return NotFound(error.message, "llmosctl tool list shows those that are offered")


def _info(tool: Tool) -> t.ToolInfo:
    offer, durations = tool.offer, tool.durations
    return t.ToolInfo(
        name=offer.name.name,
        owner=offer.name.owner,
        description=offer.description,
        schema=offer.schema,
        timeout=offer.timeout,
        calls=durations.calls,
        seconds=durations.typical,
        open=len(tool.open),
        at_once=offer.at_once,
    )
