"""Tells what changes in homes (`ChangeSource`): one thread for all that are watched.

Rules: what is told is told in that thread, in its order; an empty sequence means that nothing more will come. A watch
that was closed tells nothing.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock, Thread

from llmos.drivers.files.failures import told
from llmos.drivers.files.store import HostFiles
from llmos.drivers.files.watched_tree import WatchedTree
from llmos.kernel.ports.files import FilePath
from llmos.syscalls.abi.errors import Error
from llmos.syscalls.abi.files import FileChanged, FileKind

_UNDECIDED_MILLISECONDS = 20
"""How long what has left a name may take to get another: the host says both at once."""

Tell = Callable[[Sequence[FileChanged]], None]


@dataclass(frozen=True, slots=True, eq=False)
class _Watch:
    tree: WatchedTree
    tell: Tell
    end: Callable[[_Watch], None]

    def close(self) -> None:
        self.end(self)


class HostChanges:
    """All watches of a daemon."""

    def __init__(self, files: HostFiles) -> None:
        self._files = files
        self._lock = Lock()
        self._watches: dict[int, _Watch] = {}
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._closed = False
        self._thread: Thread | None = None

    def watch(self, path: FilePath, tell: Tell) -> _Watch:
        """As `ChangeSource` says. Raises `NotFound`, `LimitExceeded`, `TryAgain`."""
        is_directory = self._files.stat(path).kind is FileKind.DIRECTORY
        with told(path):
            watch = _Watch(WatchedTree(self._files.home(path.owner), path, is_directory), tell, self._end)
        with self._lock:
            self._watches[watch.tree.fileno()] = watch
            if self._thread is None:
                self._thread = Thread(target=self._run, name="changes", daemon=True)
                self._thread.start()
        os.eventfd_write(self._wake, 1)
        return watch

    def close(self) -> None:
        """End all of them, and the thread."""
        self._closed = True
        os.eventfd_write(self._wake, 1)
        if self._thread is not None:
            self._thread.join()
        for watch in list(self._watches.values()):
            self._end(watch)
        os.close(self._wake)

    def _end(self, watch: _Watch) -> None:
        with self._lock:
            if self._watches.get(watch.tree.fileno()) is watch:
                del self._watches[watch.tree.fileno()]
                watch.tree.close()

    def _run(self) -> None:
        while not self._closed:
            for descriptor in self._wait():
                self._look(descriptor)

    def _wait(self) -> list[int]:
        """The watches to look at: those that have something, and those that wait for the rest of a renaming."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        with self._lock:
            undecided = [number for number, watch in self._watches.items() if watch.tree.undecided]
            for number in self._watches:
                poll.register(number, select.POLLIN)
        ready = [number for number, _ in poll.poll(_UNDECIDED_MILLISECONDS if undecided else None)]
        if self._wake in ready:
            os.eventfd_read(self._wake)
        return [number for number in {*ready, *undecided} if number != self._wake]

    def _look(self, descriptor: int) -> None:
        with self._lock:
            watch = self._watches.get(descriptor)
            if watch is None:
                return
            undecided = watch.tree.undecided
            try:
                changes = watch.tree.changes()
                if undecided and not changes:
                    changes = watch.tree.settle()
                over = watch.tree.over
            except (Error, OSError):
                changes, over = (), True  # what is watched cannot be reached any more
        if changes:
            watch.tell(changes)
        if over:
            watch.close()
            watch.tell(())
