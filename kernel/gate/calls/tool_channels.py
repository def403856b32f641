"""The channels of tools: the one over which an app hears of calls, and the one on which a caller waits.

They know what has to be sent, and nothing of how calls are checked. Rule: what an app is told costs credit; what it
has no credit for waits in the registry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from llmos.kernel.gate.channel import Channel
from llmos.kernel.gate.tools.registry import OpenCall, Registry, Tool
from llmos.kernel.gate.tools.schemas import ArgumentSchema
from llmos.syscalls.abi.errors import Error
from llmos.syscalls.abi.tools import ToolResult


@dataclass(frozen=True, slots=True, eq=False)
class Offering:
    """A tool's app."""

    loop: asyncio.AbstractEventLoop
    registry: Registry
    tool: Tool
    schema: ArgumentSchema
    channel: Channel

    def serve(self) -> None:
        """Tell the app what its credit allows."""
        while self.channel.ready and (event := self.registry.tell_next(self.tool, self.loop.time())) is not None:
            self.channel.event(event)

    def serve_soon(self) -> None:
        """The same, from the loop itself: another channel is just being ended."""
        self.loop.call_soon(self.serve)


@dataclass(frozen=True, slots=True, eq=False)
class CallInProgress:
    """A caller that waits for its answer; `resume` lets its process go on."""

    call: OpenCall
    channel: Channel
    timer: asyncio.TimerHandle
    resume: Callable[[], None]

    def reply(self, result: ToolResult) -> None:
        """The answer has come."""
        self._over()
        self.channel.reply(result)

    def end(self, error: Error | None) -> None:
        """It ended otherwise; without an error the channel is ending by itself and says why."""
        self._over()
        if error is not None:
            self.channel.fail(error)

    def _over(self) -> None:
        self.timer.cancel()
        self.resume()
