"""The ports to the sandbox of apps: images are built, containers run programs, and what those say comes out.

A container runs one program once. It is prepared first: started, its interpreter loaded, and frozen; begun when
somebody wants it to run. Implementations are thread-safe; their methods may block, so nobody calls them in the loop.
They raise abi errors: `NotSupported` when there is no engine, `NotFound`, `InvalidArgument` for what cannot be built,
`DeviceError` for what the engine refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import NewType, Protocol

ContainerId = NewType("ContainerId", str)
"""Of the engine's making; never used again."""

ImageId = NewType("ImageId", str)


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What runs the containers."""

    name: str
    version: str
    runtime: str
    """`runc`, `runsc`, or `none` where programs run without a container."""


@dataclass(frozen=True, slots=True)
class Confinement:
    """What a container may use: bytes of memory, processors, OS processes, bytes of its scratch folder."""

    memory: int
    cpus: float
    processes: int
    scratch: int


@dataclass(frozen=True, slots=True)
class ImageOrder:
    """An image to build: the app's files by their paths below its folder, and the wheels that it asks for.

    `libraries` are those that the base must have. `base` is the image to build on, or empty for the one that fits this
    Python.
    """

    app: str
    version: str
    files: dict[str, bytes]
    packages: tuple[str, ...]
    base: str = ""
    libraries: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Image:
    """An image; `size` in bytes, `own` without what it is built on."""

    id: ImageId
    size: int
    own: int


@dataclass(frozen=True, slots=True)
class ContainerOrder:
    """A container to prepare. `folder` is what it sees of the host: the socket and the key of its app."""

    app: str
    image: ImageId
    folder: Path
    confinement: Confinement


class Stream(Enum):
    """Where a program wrote something."""

    OUT = "out"
    ERR = "err"


@dataclass(frozen=True, slots=True)
class Said:
    """What a program wrote, and when, in seconds since the epoch."""

    stream: Stream
    data: bytes
    at: float


@dataclass(frozen=True, slots=True)
class Ended:
    """A container has ended; `out_of_memory` says that its limit of memory ended it."""

    container: ContainerId
    status: int
    out_of_memory: bool


@dataclass(frozen=True, slots=True)
class Found:
    """A container that an earlier daemon has left; `begun` unless it only waits."""

    container: ContainerId
    app: str
    begun: bool
    ended: Ended | None


class Images(Protocol):
    """Builds images."""

    def probe(self) -> EngineFacts:
        """What there is. Raises `NotSupported` with how to get one."""
        ...

    def build(self, order: ImageOrder, say: Callable[[str], None]) -> Image:
        """Build an image; `say` is told what happens, a line at a time."""
        ...

    def discard_image(self, image: ImageId) -> None:
        """Remove an image; one that is gone is fine."""
        ...


class Containers(Protocol):
    """Runs programs."""

    def prepare(self, order: ContainerOrder) -> ContainerId:
        """Make a container whose program waits, frozen."""
        ...

    def begin(self, container: ContainerId, arguments: tuple[str, ...]) -> None:
        """Thaw it and let its program run."""
        ...

    def end(self, container: ContainerId, grace: float) -> None:
        """Ask its program to end, and end it after `grace` seconds; does not wait for that."""
        ...

    def discard(self, container: ContainerId) -> None:
        """Remove it and what it has said; one that is gone is fine."""
        ...

    def found(self) -> tuple[Found, ...]:
        """What an earlier daemon has left."""
        ...

    def watch(self, told: Callable[[Ended], None]) -> None:
        """Have every end told from now on, from another thread, until `close`."""
        ...


class Reading(Protocol):
    """What comes out of a program, for one thread."""

    def __iter__(self) -> Iterator[Said]:
        """To its end, or until it is closed."""
        ...

    def close(self) -> None:
        """Read no more; from any thread, more than once."""
        ...


class Streams(Protocol):
    """What goes into programs and comes out."""

    def write(self, container: ContainerId, data: bytes) -> None:
        """Give a program input; empty: there is no more. What it cannot take within seconds is `TryAgain`."""
        ...

    def read(self, container: ContainerId, follow: bool, since: float) -> Reading:
        """What a program has written since then; with `follow` also what it writes until it ends."""
        ...

    def close(self) -> None:
        """End what is being watched and read."""
        ...


class Ways(Protocol):
    """The ways out for apps that name hosts."""

    def open(self, app: str, path: Path, user: int, hosts: Sequence[str]) -> None:
        """Let an app reach these hosts, `HOST:PORT` each, through a socket file of this user; replaces what was
        there.
        """
        ...

    def close(self, path: Path) -> None:
        """Let nobody through there any more."""
        ...

    def end(self) -> None:
        """Close all of them."""
        ...


@dataclass(frozen=True, slots=True)
class Sandbox:
    """All of it. `user` is the host's user that programs run as."""

    images: Images
    containers: Containers
    streams: Streams
    user: int
