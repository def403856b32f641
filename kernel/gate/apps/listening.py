"""What a run says, as a stream: read beside the loop, as far as the reader's credit goes.

Rules: one piece of output is under way between the thread that reads and the loop, so a reader who is slow holds up
nobody and nothing piles up; when its caller leaves, the reading is closed and the thread goes back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from llmos.kernel.gate.channel import Channel, Ending
from llmos.kernel.ports.sandbox import ContainerId, Reading, Said, Stream, Streams
from llmos.syscalls.abi import apps as a
from llmos.syscalls.abi.errors import LimitExceeded, NotFound

READERS: Final = 32
_STREAMS: Final = {Stream.OUT: a.OutputStream.OUT, Stream.ERR: a.OutputStream.ERR}


class Listening:
    """All who read."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._threads = ThreadPoolExecutor(READERS, "app output")
        self._reading = 0

    def check_room(self) -> None:
        """Raise `LimitExceeded` when too many read already."""
        if self._reading >= READERS:
            raise LimitExceeded(f"{READERS} callers read what apps say, the most there may be", "try later")

    async def send(
        self, streams: Streams, containers: Iterable[ContainerId], follow: bool, since: float, channel: Channel
    ) -> None:
        """Send what these containers have said, one after the other; returns at the end, or when nobody listens."""
        self._reading += 1
        try:
            for container in containers:
                if not channel.over:
                    await self._tell_one(streams, container, follow, since, channel)
        finally:
            self._reading -= 1

    async def _tell_one(
        self, streams: Streams, container: ContainerId, follow: bool, since: float, channel: Channel
    ) -> None:
        try:
            reading = await self._loop.run_in_executor(self._threads, streams.read, container, follow, since)
        except NotFound:
            return  # discarded meanwhile
        telling = _Telling(self._loop, channel, reading)
        await self._loop.run_in_executor(self._threads, telling.run)

    def close(self) -> None:
        """Let the threads end; what they read has been closed."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class _Telling:
    """One container's output on its way."""

    def __init__(self, loop: asyncio.AbstractEventLoop, channel: Channel, reading: Reading) -> None:
        self._loop = loop
        self._channel = channel
        self._reading = reading
        self._credit = asyncio.Event()
        channel.on_credit(self._credit.set)
        channel.on_end(self._end)

    def run(self) -> None:
        """In a thread."""
        try:
            for said in self._reading:
                if not asyncio.run_coroutine_threadsafe(self._send(said), self._loop).result():
                    return
        finally:
            self._reading.close()

    async def _send(self, said: Said) -> bool:
        for first in range(0, len(said.data), a.MAX_OUTPUT):
            while not self._channel.over and not self._channel.ready:
                self._credit.clear()
                await self._credit.wait()
            if self._channel.over:
                return False
            self._channel.event(a.AppOutput(_STREAMS[said.stream], said.data[first : first + a.MAX_OUTPUT], said.at))
        return not self._channel.over

    def _end(self, ending: Ending) -> None:
        self._credit.set()
        self._reading.close()
