"""What the SDK's methods about apps mean on the wire. Pure functions, shared by the blocking and the async classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from llmos.syscalls.abi import apps as a
from llmos.syscalls.abi.errors import Error
from llmos.syscalls.abi.messages import Done
from llmos.syscalls.sdk.app_folders import PackedApp
from llmos.syscalls.sdk.protocol import GRACE_SECONDS, Event, Failed, Happened, Replied, Window
from llmos.syscalls.sdk.requests import Invocation, build, itself
from llmos.syscalls.wire.codec import decode_record

WINDOW = 64


def check(app: PackedApp, tenant: str | None) -> Invocation[a.AppAsked, a.AppAsked]:
    """Gives what the app asks for."""
    return Invocation(
        "app.check", build(a.AppCheck, name=app.name, archive=app.archive, tenant=tenant), a.AppAsked, itself
    )


def install(app: PackedApp, tenant: str | None) -> a.AppInstall:
    """Installs; its stream is the progress."""
    return build(a.AppInstall, name=app.name, archive=app.archive, tenant=tenant, window=WINDOW)


def list_apps() -> Invocation[a.Apps, list[a.AppInfo]]:
    """Gives what is installed."""
    return Invocation("app.list", build(a.AppList), a.Apps, lambda reply: list(reply.apps))


def run(name: str, arguments: Sequence[str], sandboxed: bool, restart: str | None) -> Invocation[a.RunInfo, a.RunInfo]:
    """Gives the run that has begun."""
    request = build(a.AppRun, name=name, arguments=tuple(arguments), restart=restart)
    return Invocation("app.run" if sandboxed else "app.run_unsandboxed", request, a.RunInfo, itself)


def logs(name: str, run: int | None, follow: bool, since: float) -> a.AppLogs:
    """Reads what a run says; its stream is that."""
    return build(a.AppLogs, name=name, run=run, follow=follow, since=since, window=WINDOW)


def write(name: str, run: int, data: bytes) -> Invocation[Done, Done]:
    """Gives a run input; none: there is no more."""
    return Invocation("app.input", build(a.AppInput, name=name, run=run, data=data), Done, itself)


def stop(name: str, run: int | None, grace: float) -> Invocation[a.AppInfo, a.AppInfo]:
    """Gives the app when its runs have ended."""
    request = build(a.AppStop, name=name, run=run, grace=grace)
    return Invocation("app.stop", request, a.AppInfo, itself, grace + GRACE_SECONDS + 60)


def remove(name: str) -> Invocation[Done, Done]:
    """Removes an app."""
    return Invocation("app.remove", build(a.AppRemove, name=name), Done, itself)


@dataclass(slots=True, eq=False)
class OutputStream:
    """What has been read of what a run says. After the last piece `run` says how it stands."""

    window: Window = field(default_factory=lambda: Window(WINDOW))
    run: a.RunInfo | None = None
    failure: Error | None = None

    @property
    def finished(self) -> bool:
        """The last piece has been read."""
        return self.run is not None or self.failure is not None

    def accept(self, event: Event) -> a.AppOutput | None:
        """The next piece; None at the end. Raises the error of a stream that failed."""
        match event:
            case Happened(raw):
                return decode_record(a.AppOutput, raw)
            case Replied(raw):
                self.run = decode_record(a.RunInfo, raw)
            case Failed(error):
                self.failure = error
                raise error
        return None


@dataclass(slots=True, eq=False)
class InstallStream:
    """What has been read of an installation."""

    window: Window = field(default_factory=lambda: Window(WINDOW))

    def accept(self, event: Event) -> a.AppProgress | a.AppInfo:
        """The next thing that happened; the app at the end. Raises the error of one that failed."""
        match event:
            case Happened(raw):
                return decode_record(a.AppProgress, raw)
            case Replied(raw):
                return decode_record(a.AppInfo, raw)
            case Failed(error):
                raise error
