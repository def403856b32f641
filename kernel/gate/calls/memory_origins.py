"""What is appended as coming from memory: the item is read for the context, so that its lineage has it.

It does not know how contexts are appended to. Rule: only who may read an item says that something comes from it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec.structs import replace

from llmos.kernel.core.authority import Authorized
from llmos.kernel.gate.calls.beside import in_threads
from llmos.kernel.gate.calls.memories import context_of
from llmos.kernel.gate.channel import Channel
from llmos.kernel.loop.shell import Shell
from llmos.kernel.ports.memory import MemoryReader
from llmos.kernel.security.membrane import Membrane
from llmos.kernel.security.names import owned_name
from llmos.kernel.security.objects import named_by
from llmos.syscalls.abi.errors import Error, InvalidArgument
from llmos.syscalls.abi.memory import DEFAULT_NAMESPACE, MemoryRecord
from llmos.syscalls.abi.messages import Append
from llmos.syscalls.abi.words import Origin, OriginKind, Pid

Appending = Callable[[Append], None]
"""Begins the append. Raises abi errors."""


class MemoryOrigins:
    """Reads items before they are appended."""

    def __init__(
        self, shell: Shell, membrane: Membrane, memory: MemoryReader, clock: Callable[[], float] = time.time
    ) -> None:
        self._shell = shell
        self._membrane = membrane
        self._memory = memory
        self._clock = clock

    def resolve(self, by: Authorized, request: Append, append: Appending, channel: Channel) -> None:
        """Append, after the item was read that it comes from, if it does. Raises abi errors, `Denied`."""
        origin = request.origin
        if origin is None or origin.kind is not OriginKind.MEMORY:
            append(request)
        else:
            self._read(by, request, origin, append, channel)

    def _read(self, by: Authorized, request: Append, origin: Origin, append: Appending, channel: Channel) -> None:
        if origin.id is None:
            raise InvalidArgument("an origin in memory has the id of its item", "give id, name and version")
        name = owned_name(origin.name or DEFAULT_NAMESPACE, by.principal.name, "namespace")
        self._membrane.authorize_target(
            by.principal, named_by("mem", name, by.principal, self._membrane.holders), "mem.get"
        )
        context = context_of(self._shell.kernel.table.living(Pid(request.pid)))
        namespace = f"{name.owner}/{name.name}"
        found = self._memory.get(namespace, origin.id, origin.version, context, self._clock())

        def go_on(record: MemoryRecord) -> None:
            known = replace(origin, name=record.namespace, version=record.version)
            try:
                append(replace(request, origin=known))
            except Error as error:
                channel.fail(error)

        in_threads(self._shell.loop, found, go_on, channel)
