"""Containers of apps on a Docker engine.

Rules: every container carries a label with the home that it belongs to, and nothing without it is ever touched; a
container runs once, and goes with what it has said when it is discarded.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, Protocol, TypedDict

import docker
import requests
from docker.errors import APIError, DockerException, NotFound

from llmos.kernel.ports.sandbox import ContainerId, ContainerOrder, Ended, Found, Reading
from llmos.sandbox.confinement import INSIDE, host_config, user
from llmos.sandbox.engine import Engine, said_plainly
from llmos.sandbox.inside import READY, begin_with
from llmos.sandbox.output import LogReading
from llmos.syscalls.abi import errors as abi

HOME, APP = "llmos.home", "llmos.app"
"""Labels of a container: the home of its daemon, and its app."""

READY_SECONDS: Final = 60.0
INPUT_SECONDS: Final = 5.0
AGAIN_SECONDS: Final = 1.0
"""After so long an engine that did not answer is asked again."""

_LAST_LINES, _LAST_CHARACTERS = 20, 500
"""Told of what a container said that ended too early."""

_ROUNDED: Final = 1e-5
"""More than a time with nanoseconds loses as a number of seconds."""

_STARTS: Final = ("python3", "-u", "-s", "/usr/lib/llmos/inside.py")


class _Listed(TypedDict):
    """What the engine lists of a container."""

    Id: str
    Labels: dict[str, str]


class _Events(Protocol):
    """What happens to containers, as it happens."""

    def close(self) -> None:
        """Hear no more."""
        ...


class Containers:
    """Of one home."""

    def __init__(self, engine: Engine, home: Path) -> None:
        self._engine = engine
        self._home = os.fspath(home)
        self._runtime: str | None = None
        self._inputs: dict[ContainerId, socket.socket] = {}
        self._lock = threading.Lock()
        self._events: _Events | None = None
        self._closed = threading.Event()

    # --- running

    def prepare(self, order: ContainerOrder) -> ContainerId:
        client = self._engine.client
        with said_plainly(f"the container of {order.app}"):
            container = self._create(client, order)
            try:
                self._start(client, container, order.app)
            except BaseException:
                self.discard(container)
                raise
        return container

    def begin(self, container: ContainerId, arguments: tuple[str, ...]) -> None:
        with said_plainly("the container"):
            self._engine.client.unpause(container)
        self.write(container, begin_with(arguments))

    def end(self, container: ContainerId, grace: float) -> None:
        client = self._engine.client
        with said_plainly("the container"):
            try:
                if not _end_frozen(client, container):
                    client.stop(container, timeout=max(0, round(grace)))
            except (NotFound, APIError) as error:
                if not _is_over(error):
                    raise

    def discard(self, container: ContainerId) -> None:
        self._drop_input(container)
        client = self._engine.client
        with said_plainly("the container"), suppress(NotFound):
            try:
                _end_frozen(client, container)
            except APIError as error:
                if not _is_over(error):
                    raise
            client.remove_container(container, force=True, v=True)

    def found(self) -> tuple[Found, ...]:
        client = self._engine.client
        with said_plainly("containers"):
            there = client.containers(all=True, filters={"label": f"{HOME}={self._home}"})
            return tuple(
                found for one in there if APP in one["Labels"] and (found := _look_at(client, one)) is not None
            )

    def watch(self, told: Callable[[Ended], None]) -> None:
        threading.Thread(target=self._watch, args=(told,), name="containers", daemon=True).start()

    # --- streams

    def write(self, container: ContainerId, data: bytes) -> None:
        with self._lock:
            stdin = self._inputs.get(container)
        if stdin is None:
            raise abi.NotFound("this program takes no more input")
        try:
            if data:
                _send(stdin, data)
            else:
                stdin.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            raise abi.NotFound("this program takes no more input") from None

    def read(self, container: ContainerId, follow: bool, since: float) -> Reading:
        following, rest = (partial(self._said, container, now) for now in (follow, False))
        return LogReading(following, rest if follow else None, since)

    def _said(self, container: ContainerId, follow: bool, since: float) -> requests.Response:
        """The engine's answer; it may begin a little before that moment."""
        client = self._engine.client
        asked: dict[str, str | int] = {"stdout": 1, "stderr": 1, "timestamps": 1, "follow": int(follow)}
        asked["since"] = f"{max(0.0, since - _ROUNDED):.9f}"
        url = f"{client.base_url}/v{client.api_version}/containers/{container}/logs"
        with said_plainly("the output"):
            answer = client.get(url, params=asked, stream=True, timeout=None)
            if answer.status_code in (requests.codes.not_found, requests.codes.conflict):
                answer.close()
                raise abi.NotFound("what this container said is gone")
            answer.raise_for_status()
        return answer

    def close(self) -> None:
        self._closed.set()
        if self._events is not None:
            self._events.close()
        with self._lock:
            inputs, self._inputs = self._inputs, {}
        for stdin in inputs.values():
            stdin.close()

    # --- inside

    def _create(self, client: docker.APIClient, order: ContainerOrder) -> ContainerId:
        if self._runtime is None:
            self._runtime = self._engine.facts().runtime
        made = client.create_container(
            order.image,
            [*_STARTS, order.app],
            entrypoint=[],
            user=f"{user()}:{user()}",
            working_dir="/tmp",
            stdin_open=True,
            labels={HOME: self._home, APP: order.app},
            environment={"LLMOS_ENDPOINT": f"ipc://{INSIDE}/kernel.sock", "LLMOS_KEY": f"{INSIDE}/app.key"},
            network_disabled=True,
            hostname=order.app.replace("_", "-"),
            host_config=host_config(client.api_version, self._runtime, order.folder, order.confinement),
        )
        return ContainerId(made["Id"])

    def _start(self, client: docker.APIClient, container: ContainerId, app: str) -> None:
        stdin = _attached(client, container, "stdin")
        with self._lock:
            self._inputs[container] = stdin
        with _attached(client, container, "stdout") as stdout:
            client.start(container)
            if not _is_ready(stdout, app):
                said = client.logs(container, tail=_LAST_LINES).decode(errors="replace").strip()
                raise abi.DeviceError(f"the container of {app} ended before it was ready: {said[-_LAST_CHARACTERS:]}")
        client.pause(container)

    def _drop_input(self, container: ContainerId) -> None:
        with self._lock:
            stdin = self._inputs.pop(container, None)
        if stdin is not None:
            stdin.close()

    def _watch(self, told: Callable[[Ended], None]) -> None:
        """Ends that happen while the engine cannot be asked are found when it answers again."""
        since = time.time()
        while not self._closed.is_set():
            try:
                events = self._events = self._engine.client.events(
                    since=int(since),
                    decode=True,
                    filters={"type": "container", "event": "die", "label": f"{HOME}={self._home}"},
                )
                self._tell_missed(told)
                for event in events:
                    since = event["time"]
                    self._tell(ContainerId(event["Actor"]["ID"]), told)
            except (DockerException, requests.RequestException, abi.Error, OSError):
                self._closed.wait(AGAIN_SECONDS)

    def _tell_missed(self, told: Callable[[Ended], None]) -> None:
        """An engine that was begun again does not know the events of before."""
        for one in self.found():
            if one.ended is not None:
                told(one.ended)
                self._drop_input(one.container)

    def _tell(self, container: ContainerId, told: Callable[[Ended], None]) -> None:
        with suppress(NotFound):
            told(_ended(self._engine.client.inspect_container(container)))
        self._drop_input(container)


def _end_frozen(client: docker.APIClient, container: ContainerId) -> bool:
    """End a container that is frozen; whether it was. Thawed first: gVisor's cannot be killed while it is frozen, and a
    program that has no input yet gets nothing to do by that.
    """
    frozen = bool(client.inspect_container(container)["State"]["Paused"])
    if frozen:
        client.unpause(container)
        client.kill(container)
    return frozen


def _attached(client: docker.APIClient, container: ContainerId, stream: str) -> socket.socket:
    wrapped = client.attach_socket(container, params={stream: 1, "stream": 1})
    plain: socket.socket = wrapped._sock
    return plain


def _is_ready(stdout: socket.socket, app: str) -> bool:
    """Wait for it; False when it has ended."""
    deadline, said = time.monotonic() + READY_SECONDS, b""
    while READY not in said:
        stdout.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            part = stdout.recv(4096)
        except TimeoutError:
            raise abi.DeviceError(f"the container of {app} was not ready after {READY_SECONDS:.0f} s") from None
        if not part:
            return False
        said += part
    return True


def _send(stdin: socket.socket, data: bytes) -> None:
    """All of it, or `TryAgain`: a program that does not read its input must hold up nobody."""
    stdin.setblocking(False)
    deadline = time.monotonic() + INPUT_SECONDS
    while data:
        try:
            data = data[stdin.send(data) :]
        except BlockingIOError:
            writable = select.poll()
            writable.register(stdin, select.POLLOUT)
            if not writable.poll(max(0.0, deadline - time.monotonic()) * 1_000):
                raise abi.TryAgain("the program does not read its input", "some of it may have gone through") from None


def _look_at(client: docker.APIClient, one: _Listed) -> Found | None:
    """A container, unless it has gone since it was listed."""
    try:
        return _found(one["Labels"][APP], client.inspect_container(one["Id"]))
    except NotFound:
        return None


def _found(app: str, said: dict[str, dict[str, object]]) -> Found:
    state = said["State"]
    ended = _ended(said) if state["Status"] in ("exited", "dead") else None
    return Found(ContainerId(str(said["Id"])), app, not (state["Paused"] or state["Status"] == "created"), ended)


def _ended(said: dict[str, dict[str, object]]) -> Ended:
    state = said["State"]
    return Ended(ContainerId(str(said["Id"])), int(str(state["ExitCode"])), bool(state["OOMKilled"]))


def _is_over(error: APIError) -> bool:
    return isinstance(error, NotFound) or error.status_code == requests.codes.conflict
