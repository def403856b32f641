"""Programs of apps without a container, for the development of apps: the daemon's own user, network and files, no
bounds.

It is the same port as containers, so that an app behaves the same but for what would have stopped it. What a program
says is kept in a file until it is discarded; a program that is discarded dies.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final

from llmos.kernel.ports.sandbox import (
    ContainerId,
    ContainerOrder,
    Ended,
    EngineFacts,
    Found,
    Image,
    ImageId,
    ImageOrder,
    Reading,
    Said,
    Sandbox,
    Stream,
)
from llmos.sandbox import inside
from llmos.sandbox.wheels import wheel_files
from llmos.syscalls.abi import errors as abi

LOOKED_SECONDS: Final = 0.1
"""How often a program that is read is looked at; nothing tells that a file grows."""

_CHUNK: Final = 1 << 14


@dataclass(slots=True, eq=False)
class _Program:
    process: subprocess.Popen[bytes]
    folder: Path
    ended: threading.Event


class BareImages:
    """Folders with the code of apps; `place` gets one for each."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def probe(self) -> EngineFacts:
        return EngineFacts("none", "", "none")

    def build(self, order: ImageOrder, say: Callable[[str], None]) -> Image:
        place = self._place / order.app
        fresh = place.with_name(f".{order.app}.{secrets.token_hex(4)}")
        try:
            _write(fresh / "app" / order.app, order.files)
            _write(fresh / "packages", wheel_files(order.packages, say))
            shutil.rmtree(place, ignore_errors=True)
            fresh.rename(place)
        except OSError as error:
            raise abi.DeviceError(f"{place} cannot be written: {error.strerror}") from None
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        return Image(ImageId(os.fspath(place)), 0, sum(map(len, order.files.values())))

    def discard_image(self, image: ImageId) -> None:
        shutil.rmtree(image, ignore_errors=True)


class BareContainers:
    """Programs; what they say is below `place`."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._programs: dict[ContainerId, _Program] = {}
        self._told: Callable[[Ended], None] | None = None

    def prepare(self, order: ContainerOrder) -> ContainerId:
        container = ContainerId(secrets.token_hex(8))
        folder = self._place / container
        folder.mkdir(mode=0o700, parents=True)
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            process = subprocess.Popen(
                (sys.executable, "-u", "-s", str(inside.__file__), order.app),
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                cwd=folder,
                env=_environment(order),
                start_new_session=True,
            )
        self._programs[container] = _Program(process, folder, threading.Event())
        return container

    def begin(self, container: ContainerId, arguments: tuple[str, ...]) -> None:
        program = self._program(container)
        self.write(container, inside.begin_with(arguments))
        threading.Thread(target=self._wait, args=(container, program), name="bare app", daemon=True).start()

    def end(self, container: ContainerId, grace: float) -> None:
        program = self._program(container)
        _signal(program.process, signal.SIGTERM)
        if not program.ended.wait(grace):
            _signal(program.process, signal.SIGKILL)

    def discard(self, container: ContainerId) -> None:
        program = self._programs.pop(container, None)
        if program is not None:
            _signal(program.process, signal.SIGKILL)
            program.process.wait()
            _input(program.process).close()
            shutil.rmtree(program.folder, ignore_errors=True)

    def found(self) -> tuple[Found, ...]:
        return ()

    def watch(self, told: Callable[[Ended], None]) -> None:
        self._told = told

    def write(self, container: ContainerId, data: bytes) -> None:
        stdin = _input(self._program(container).process)
        try:
            if data:
                stdin.write(data)
                stdin.flush()
            else:
                stdin.close()
        except (BrokenPipeError, ValueError):
            raise abi.NotFound("this program takes no more input") from None

    def read(self, container: ContainerId, follow: bool, since: float) -> Reading:
        return _FileReading(self._program(container), follow)

    def close(self) -> None:
        for container in tuple(self._programs):
            self.discard(container)

    def _program(self, container: ContainerId) -> _Program:
        program = self._programs.get(container)
        if program is None:
            raise abi.NotFound("this program is gone")
        return program

    def _wait(self, container: ContainerId, program: _Program) -> None:
        status = program.process.wait()
        program.ended.set()
        if self._told is not None:
            self._told(Ended(container, status if status >= 0 else 128 - status, False))


class _FileReading:
    """What a program writes into its files."""

    def __init__(self, program: _Program, follow: bool) -> None:
        self._program = program
        self._follow = follow
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Said]:
        folder, ended = self._program.folder, self._program.ended
        with (folder / "out").open("rb") as out, (folder / "err").open("rb") as err:
            out.seek(len(inside.READY))
            while True:
                last = not self._follow or ended.is_set()
                for stream, file in ((Stream.OUT, out), (Stream.ERR, err)):
                    while (data := file.read(_CHUNK)) and not self._closed.is_set():
                        yield Said(stream, data, time.time())
                if last or self._closed.is_set():
                    return
                ended.wait(LOOKED_SECONDS)

    def close(self) -> None:
        self._closed.set()


def bare_sandbox(place: Path) -> Sandbox:
    """Everything is below `place`."""
    containers = BareContainers(place / "programs")
    return Sandbox(BareImages(place / "code"), containers, containers, os.getuid())


def _environment(order: ContainerOrder) -> dict[str, str]:
    source = Path(str(inside.__file__)).parent.parent.parent
    path = os.pathsep.join(map(os.fspath, (Path(order.image) / "app", Path(order.image) / "packages", source)))
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    return kept | {
        "PYTHONPATH": path,
        "PYTHONDONTWRITEBYTECODE": "1",
        "LLMOS_ENDPOINT": f"ipc://{order.folder}/kernel.sock",
        "LLMOS_KEY": f"{order.folder}/app.key",
    }


def _write(root: Path, files: Mapping[str, bytes]) -> None:
    root.mkdir(mode=0o700, parents=True)
    for path, data in files.items():
        place = root / PurePosixPath(path)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.write_bytes(data)


def _input(process: subprocess.Popen[bytes]) -> IO[bytes]:
    if process.stdin is None:
        raise AssertionError("a program without input")
    return process.stdin


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    """To it and all that it has begun."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
