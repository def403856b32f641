"""The call that tells what changes: a stream that ends with its client, or with what it watches.

Rules: changes that wait for the reader's credit are bounded; beyond that they are dropped, and one `missed` says so. A
principal has a bounded number of watches.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence

from llmos.kernel.core.authority import Authorized
from llmos.kernel.gate.calls.handler import Handler, row
from llmos.kernel.gate.calls.lanes import Lanes
from llmos.kernel.gate.channel import Channel, Ending
from llmos.kernel.ports.files import ChangeSource, FilePath, Watch
from llmos.kernel.security.names import file_path
from llmos.syscalls.abi.errors import Error, LimitExceeded
from llmos.syscalls.abi.files import Change, FileChanged, FileWatch
from llmos.syscalls.abi.messages import Done

MOST_UNTOLD = 4096
"""Changes that wait for one reader."""


class WatchCalls:
    """One method per call."""

    def __init__(self, loop: asyncio.AbstractEventLoop, source: ChangeSource, lanes: Lanes, most: int) -> None:
        self._loop = loop
        self._source = source
        self._lanes = lanes
        self._most = most
        self._watching: Counter[str] = Counter()

    def handlers(self) -> dict[str, Handler]:
        """By the names of the calls."""
        return dict((row("fs.watch", FileWatch, self.watch),))

    def watch(self, by: Authorized, request: FileWatch, channel: Channel) -> None:
        path, who = file_path(request.path, by.principal.name), by.principal.name
        if self._watching[who] >= self._most:
            raise LimitExceeded(
                f"{who} watches {self._most} paths, the most there may be (files.watches)", "end one of them"
            )
        self._watching[who] += 1
        telling = _Telling(path, channel, lambda: self._ended(who))

        def begun(watch: Watch) -> None:
            telling.begin(watch)

        def failed(error: Error) -> None:
            telling.stop()
            channel.fail(error)

        self._lanes.work(lambda: self._source.watch(path, self._to_loop(telling)), begun, failed)

    def _to_loop(self, telling: _Telling) -> Callable[[Sequence[FileChanged]], None]:
        def tell(changes: Sequence[FileChanged]) -> None:
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(telling.take, changes)

        return tell

    def _ended(self, who: str) -> None:
        self._watching[who] -= 1
        if not self._watching[who]:
            del self._watching[who]


class _Telling:
    """One stream of changes."""

    def __init__(self, path: FilePath, channel: Channel, ended: Callable[[], None]) -> None:
        self._path = path
        self._channel = channel
        self._ended: Callable[[], None] | None = ended
        self._watch: Watch | None = None
        self._untold: deque[FileChanged] = deque()
        self._missed = self._last = False
        channel.on_credit(self._credit)
        channel.on_end(self._end)

    def begin(self, watch: Watch) -> None:
        """It is watched; what was seen already is told after that."""
        if self._ended is None:
            watch.close()
            return
        self._watch = watch
        self._untold.appendleft(FileChanged(str(self._path), Change.WATCHING))
        self._tell()

    def take(self, changes: Sequence[FileChanged]) -> None:
        """Something changed; nothing means that there will be no more."""
        for change in changes:
            if len(self._untold) >= MOST_UNTOLD:
                self._missed = True
            else:
                self._untold.append(change)
        self._last = self._last or not changes
        if self._watch is not None:
            self._tell()

    def stop(self) -> None:
        """Watch no more."""
        ended, self._ended = self._ended, None
        if ended is not None:
            ended()
        if self._watch is not None:
            self._watch.close()

    def _end(self, ending: Ending) -> None:
        self.stop()

    def _credit(self) -> None:
        if self._watch is not None:
            self._tell()

    def _tell(self) -> None:
        while self._untold and self._channel.ready:
            self._channel.event(self._untold.popleft())
        if self._missed and not self._untold and self._channel.ready:
            self._missed = False
            self._channel.event(FileChanged(str(self._path), Change.MISSED))
        if self._last and not self._untold and not self._channel.over:
            self.stop()
            self._channel.reply(Done())
