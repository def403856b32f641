"""What a call of a tool does to the process in whose name it is made: it is counted, and the process waits.

It does not know tools. Rule: a call beyond the limit is refused before anything has changed.
"""

from __future__ import annotations

from llmos.kernel.core.calls import await_
from llmos.kernel.core.effects import Effect
from llmos.kernel.core.outcomes import limit_text
from llmos.kernel.core.state import KernelState
from llmos.syscalls.abi.errors import LimitExceeded
from llmos.syscalls.abi.words import Pid


def begin(kernel: KernelState, pid: Pid, what: str, now: float) -> list[Effect]:
    """Count one call, and wait for `what`. Raises `LimitExceeded`."""
    process = kernel.table.living(pid)
    limit = process.limits.tool_calls
    if limit is not None and process.tool_calls >= limit:
        raise LimitExceeded(
            f"{limit_text(process, 'tool_calls', limit)}: it has made {process.tool_calls}", "llmosctl limit"
        )
    process.tool_calls += 1
    return await_(kernel, pid, what, now)
