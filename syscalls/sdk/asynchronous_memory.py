"""The SDK's namespace `memory`, for asyncio programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llmos.syscalls.abi.memory import Forgotten, MemoryRecord, RolledBack, Scalar
from llmos.syscalls.sdk import memory_requests as requests
from llmos.syscalls.sdk.asynchronous_call import perform
from llmos.syscalls.sdk.connection import Connection
from llmos.syscalls.sdk.memory_requests import Where


class AsyncMemory:
    """Long-term memory: items of text, found by words and by meaning.

    A `namespace` is `NAME` (one's own; `default` if none is named), `OWNER/NAME` or `@TENANT/NAME`. With `pid` a call
    is made for a process: what it reads is remembered, and what it writes counts as derived from that.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def put(
        self,
        text: str,
        metadata: Mapping[str, Scalar] | None = None,
        namespace: str | None = None,
        id: str | None = None,
        pid: int | None = None,
        trust: str = "user",
        expires: float | None = None,
        expected: int | None = None,
    ) -> MemoryRecord:
        """Write an item, with an `id` that there is its next version; on the disk when this returns.

        `expires` in seconds from now; `trust` is where the text comes from: `user`, `agent`, `tool` or `external`.
        Raises `Busy` when the latest version is not the `expected` one (0: none), `LimitExceeded`.
        """
        invocation = requests.put(text, metadata, namespace, id, pid, trust, expires, expected)
        return await perform(self._connection, invocation)

    async def get(
        self, id: str, namespace: str | None = None, version: int | None = None, pid: int | None = None
    ) -> MemoryRecord:
        """One item, its latest version or an older one. Raises `NotFound`."""
        return await perform(self._connection, requests.get(id, namespace, version, pid))

    async def search(
        self,
        query: str,
        limit: int = 10,
        where: Where | None = None,
        namespace: str | None = None,
        mode: str = "hybrid",
        pid: int | None = None,
    ) -> Sequence[MemoryRecord]:
        """The items that fit best, best first: `.id`, `.text`, `.metadata`, `.score`.

        `mode` is `hybrid`, `text` (by words) or `vector` (by meaning); `where` see `Where`.
        """
        return await perform(self._connection, requests.search(query, limit, where, namespace, mode, pid))

    async def list(
        self, namespace: str | None = None, where: Where | None = None, limit: int | None = None
    ) -> Sequence[MemoryRecord]:
        """Items in the order of their making; all of them without a limit."""
        found: list[MemoryRecord] = []
        size, after = requests.page_size(limit), None
        while limit is None or len(found) < limit:
            page = await perform(self._connection, requests.list_items(namespace, where, size, after))
            found += page.records
            if (after := page.after) is None:
                break
        return found[:limit]

    async def forget(
        self, id: str | None = None, namespace: str | None = None, where: Where | None = None, all: bool = False
    ) -> Forgotten:
        """Erase items with all their versions: one, or those that fit, or `all`; gives `.items` and `.versions`."""
        return await perform(self._connection, requests.forget(id, namespace, where, all))

    async def history(self, id: str, namespace: str | None = None, limit: int | None = None) -> Sequence[MemoryRecord]:
        """Versions of an item, latest first; all of them without a limit."""
        found: list[MemoryRecord] = []
        size, after = requests.page_size(limit), None
        while limit is None or len(found) < limit:
            page = await perform(self._connection, requests.history(id, namespace, size, after))
            found += page.records
            if (after := page.after) is None:
                break
        return found[:limit]

    async def rollback(self, id: str, version: int, namespace: str | None = None) -> RolledBack:
        """Make an older version the latest: `.record`, and in `.derived` what came of those that were taken back."""
        return await perform(self._connection, requests.rollback(id, version, namespace))
