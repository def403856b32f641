"""Requests and replies of apps; `table` says which belongs to which.

An app is a folder with `app.toml`, which travels as one archive (tar, gzipped or not). It is installed once under its
name, which is also the principal's that it runs as, and may run several times; each run has a number. Times in seconds
since the epoch, sizes in bytes.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from llmos.syscalls.abi.security import HolderName
from llmos.syscalls.abi.words import Record, Seconds

MAX_ARCHIVE = 3 << 20
MAX_OUTPUT = 1 << 16
MAX_INPUT = 1 << 16

AppName = Annotated[str, Meta(min_length=1, max_length=31)]
"""Small letters, digits and `_`, the first a letter: it is the name of a Python package, too."""

Archive = Annotated[bytes, Meta(max_length=MAX_ARCHIVE)]
Argument = Annotated[str, Meta(max_length=1 << 14)]
RunNumber = Annotated[int, Meta(ge=1, lt=1 << 53)]


class Restart(StrEnum):
    """When a run is begun again after its program has ended by itself."""

    NO = "no"
    ON_FAILURE = "on-failure"
    ALWAYS = "always"


class RunState(StrEnum):
    """`waiting`: it has ended and will be begun again."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    WAITING = "waiting"
    ENDED = "ended"


class Health(StrEnum):
    """`silent`: it makes no calls, for longer than its manifest says it should. `quiet`: it has made none yet."""

    QUIET = "quiet"
    HEALTHY = "healthy"
    SILENT = "silent"


class AppPermission(Record, frozen=True):
    """What an app asks for, and why. `usual`: the shipped role `app` has it, too."""

    object: str
    action: str
    condition: str = ""
    why: str = ""
    usual: bool = False


class AppLimits(Record, frozen=True):
    """What a container may use: bytes of memory and of its scratch folder, processors, OS processes."""

    memory: int
    cpus: float
    processes: int
    scratch: int


class AppCheck(Record, frozen=True):
    """Say what an app asks for; nothing is installed."""

    name: AppName
    archive: Archive
    tenant: HolderName | None = None


class AppAsked(Record, frozen=True):
    """What an app asks for. `hosts` are those that it may reach, `HOST:PORT`. `rules` is the file of the policy that
    its role is made of; `installed` the version that is there already, `added` and `removed` the rules that another
    version changes.
    """

    name: str
    version: str
    about: str
    permissions: tuple[AppPermission, ...]
    limits: AppLimits
    packages: tuple[str, ...]
    hosts: tuple[str, ...]
    rules: str
    installed: str | None = None
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class AppInstall(Record, frozen=True):
    """Install an app, or another version of it: its runs are begun again, what it has kept stays.

    `tenant` is the one that it belongs to, the caller's own by default. `window` is the first credit, in events.
    """

    name: AppName
    archive: Archive
    tenant: HolderName | None = None
    window: Annotated[int, Meta(ge=0, le=1 << 10)] = 64


class AppProgress(Record, frozen=True):
    """What happens while an image is built."""

    said: str


class RunInfo(Record, frozen=True):
    """One run. `status` and `reason` say how its program ended the last time. `sandbox`: `container` or `none`."""

    run: int
    state: RunState
    health: Health
    sandbox: str
    started: float
    ended: float | None = None
    status: int | None = None
    reason: str = ""
    restarts: int = 0


class AppInfo(Record, frozen=True):
    """An installed app. `image_size` is that of all its image, `own_size` without what it is built on; `warm` how many
    containers wait for a run. The last runs that have ended are among `runs`.
    """

    name: str
    version: str
    about: str
    tenant: str
    role: str
    installed: float
    by: str
    image_size: int
    own_size: int
    warm: int
    runs: tuple[RunInfo, ...] = ()


class AppList(Record, frozen=True):
    """List the apps that one may see."""


class Apps(Record, frozen=True):
    """Apps, by name."""

    apps: tuple[AppInfo, ...]


class AppRun(Record, frozen=True):
    """Run an app; answered when its program has begun. `restart` overrides what its manifest says."""

    name: AppName
    arguments: Annotated[tuple[Argument, ...], Meta(max_length=256)] = ()
    restart: Restart | None = None


class AppLogs(Record, frozen=True):
    """Read what a run has said since a moment, the last run by default; with `follow` until it has ended for good.

    The reply comes at the end. `window` is the first credit, in events.
    """

    name: AppName
    run: RunNumber | None = None
    follow: bool = False
    since: Annotated[float, Meta(ge=0, le=1e12)] = 0.0
    window: Annotated[int, Meta(ge=1, le=1 << 10)] = 64


class OutputStream(StrEnum):
    """Where a program wrote something."""

    OUT = "out"
    ERR = "err"


class AppOutput(Record, frozen=True):
    """Something that a run has said."""

    stream: OutputStream
    data: bytes
    at: float


class AppInput(Record, frozen=True):
    """Give a run input; none: there is no more."""

    name: AppName
    run: RunNumber
    data: Annotated[bytes, Meta(max_length=MAX_INPUT)] = b""


class AppStop(Record, frozen=True):
    """End a run, or all of an app; answered when they have ended. What has not after `grace` seconds is killed."""

    name: AppName
    run: RunNumber | None = None
    grace: Seconds = 10.0


class AppRemove(Record, frozen=True):
    """Remove an app that does not run: image, role and key. What it has kept stays its own."""

    name: AppName
