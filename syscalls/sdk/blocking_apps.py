"""The SDK's namespace `apps`, for programs that block: install apps, run them, read what they say."""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType

from llmos.syscalls.abi import apps as a
from llmos.syscalls.sdk import app_requests as requests
from llmos.syscalls.sdk.app_folders import pack
from llmos.syscalls.sdk.blocking_call import perform
from llmos.syscalls.sdk.connection import Connection
from llmos.syscalls.sdk.protocol import Event


class Apps:
    """What is installed, and what runs of it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def check(self, folder: str | os.PathLike[str], tenant: str | None = None) -> a.AppAsked:
        """What the app in a folder asks for; nothing is installed."""
        return perform(self._connection, requests.check(pack(Path(folder)), tenant))

    def install(
        self, folder: str | os.PathLike[str], tenant: str | None = None, say: Callable[[str], None] | None = None
    ) -> a.AppInfo:
        """Install the app in a folder, or another version of it; `say` is told what happens, a line at a time."""
        request, events = requests.install(pack(Path(folder)), tenant), SimpleQueue[Event]()
        stream, id = requests.InstallStream(), self._connection.start("app.install", request, events)
        while isinstance(happened := stream.accept(events.get()), a.AppProgress):
            if say is not None:
                say(happened.said)
            if credit := stream.window.consume():
                self._connection.credit(id, credit)
        return happened

    def list(self) -> builtins.list[a.AppInfo]:
        """The apps that one may see: `.name .version .runs`."""
        return perform(self._connection, requests.list_apps())

    def run(self, name: str, *arguments: str, sandboxed: bool = True, restart: str | None = None) -> AppRun:
        """Begin a run; it has when this returns. `restart` (`no`, `on-failure`, `always`) overrides the manifest.

        Without a sandbox an app can do whatever the daemon can.
        """
        return AppRun(
            self._connection, name, perform(self._connection, requests.run(name, arguments, sandboxed, restart)).run
        )

    def logs(self, name: str, run: int | None = None, follow: bool = False, since: float = 0.0) -> AppOutput:
        """Iterate over what a run has said, the last one by default; with `follow` until it has ended for good."""
        return AppOutput(self._connection, name, run, follow, since)

    def stop(self, name: str, run: int | None = None, grace: float = 10.0) -> a.AppInfo:
        """End a run, or all of an app; they have ended when this returns."""
        return perform(self._connection, requests.stop(name, run, grace))

    def remove(self, name: str) -> None:
        """Remove an app that does not run. What it has kept stays its own, for the next time that it is installed."""
        perform(self._connection, requests.remove(name))


class AppRun:
    """One run of an app."""

    def __init__(self, connection: Connection, name: str, number: int) -> None:
        self._connection = connection
        self.name = name
        self.number = number

    def output(self, follow: bool = True) -> AppOutput:
        """Iterate over what it says, from its beginning."""
        return AppOutput(self._connection, self.name, self.number, follow, 0.0)

    def write(self, data: bytes) -> None:
        """Give it input."""
        for first in range(0, len(data), a.MAX_INPUT):
            piece = data[first : first + a.MAX_INPUT]
            perform(self._connection, requests.write(self.name, self.number, piece))

    def close_input(self) -> None:
        """It gets no more input."""
        perform(self._connection, requests.write(self.name, self.number, b""))

    def wait(self) -> a.RunInfo:
        """Wait until it has ended for good: `.status .reason`."""
        with self.output() as output:
            for _ in output:
                continue
            return output.result()

    def stop(self, grace: float = 10.0) -> None:
        """End it."""
        perform(self._connection, requests.stop(self.name, self.number, grace))


class AppOutput:
    """What a run says: pieces with `.stream .data .at`."""

    def __init__(self, connection: Connection, name: str, run: int | None, follow: bool, since: float) -> None:
        self._connection = connection
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._stream = requests.OutputStream()
        self._id = connection.start("app.logs", requests.logs(name, run, follow, since), self._events)
        self._abandon = connection.abandon_with(self, self._id)

    def __iter__(self) -> Iterator[a.AppOutput]:
        return self

    def __next__(self) -> a.AppOutput:
        said = None if self._stream.finished else self._stream.accept(self._events.get())
        if said is None:
            raise StopIteration
        if credit := self._stream.window.consume():
            self._connection.credit(self._id, credit)
        return said

    def result(self) -> a.RunInfo:
        """How the run stands, after the last piece."""
        if self._stream.run is None:
            raise RuntimeError("result() before the last piece")
        return self._stream.run

    def __enter__(self) -> AppOutput:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Read no more."""
        self._abandon()
