"""The calls about apps: what one asks for, install, list, run, logs, input, stop, remove.

Rules: what one app does never waits for another's; a change of what is installed is in the audit log before it is
answered; an app is of one tenant, and its object is `app:/NAME` there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from llmos.kernel.core.authority import Authorized
from llmos.kernel.core.principal import Principal
from llmos.kernel.gate.apps.house import App, House
from llmos.kernel.gate.apps.installer import Installer, Plan
from llmos.kernel.gate.apps.listening import Listening
from llmos.kernel.gate.apps.runner import Runner, containers_of
from llmos.kernel.gate.apps.runs import Run
from llmos.kernel.gate.calls.beside import in_loop
from llmos.kernel.gate.calls.handler import Handler, row
from llmos.kernel.gate.channel import Channel
from llmos.kernel.gate.recorder import Recorder
from llmos.kernel.ports.sandbox import ContainerId
from llmos.kernel.security.audit.record import Kind
from llmos.kernel.security.membrane import Membrane
from llmos.kernel.security.objects import app_target, app_tenant
from llmos.syscalls.abi import apps as a
from llmos.syscalls.abi.errors import Busy, NotFound
from llmos.syscalls.abi.messages import Done

RUNTIMES = {True: "container", False: "none"}


class AppCalls:
    """One method per call. `last_call` says how many seconds ago an app has called; None for longer than is known."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        house: House,
        installer: Installer,
        runner: Runner,
        listening: Listening,
        membrane: Membrane,
        recorder: Recorder,
        silence: Callable[[str], float | None],
        clock: Callable[[], float],
    ) -> None:
        self._loop = loop
        self._house = house
        self._installer = installer
        self._runner = runner
        self._listening = listening
        self._membrane = membrane
        self._recorder = recorder
        self._silence = silence
        self._clock = clock
        self._installing: set[str] = set()

    def handlers(self) -> dict[str, Handler]:
        """By the names of the calls."""
        return dict(
            (
                row("app.check", a.AppCheck, self.check),
                row("app.install", a.AppInstall, self.install),
                row("app.list", a.AppList, self.list),
                row("app.run", a.AppRun, partial(self.run, sandboxed=True)),
                row("app.run_unsandboxed", a.AppRun, partial(self.run, sandboxed=False)),
                row("app.logs", a.AppLogs, self.logs),
                row("app.input", a.AppInput, self.input),
                row("app.stop", a.AppStop, self.stop),
                row("app.remove", a.AppRemove, self.remove),
            )
        )

    def check(self, by: Authorized, request: a.AppCheck, channel: Channel) -> None:
        async def work() -> a.AppAsked:
            return await self._installer.ask(await self._plan(by.principal, request))

        in_loop(self._loop, work(), channel.reply, channel)

    def install(self, by: Authorized, request: a.AppInstall, channel: Channel) -> None:
        name = request.name
        if name in self._installing:
            raise Busy(f"{name} is being installed", "wait for that")
        self._installing.add(name)

        async def work() -> App:
            try:
                plan = await self._plan(by.principal, request)
                return await self._installer.install(plan, by.principal, self._teller(channel))
            finally:
                self._installing.discard(name)

        def installed(app: App) -> None:
            detail = f"{name} {app.installed.manifest.version} installed, role {app.installed.manifest.role}"
            self._recorder.commit(Kind.KEY, by, detail, self._info(app), channel)

        in_loop(self._loop, work(), installed, channel)

    async def _plan(self, who: Principal, request: a.AppCheck | a.AppInstall) -> Plan:
        return await self._installer.plan(request.name, request.archive, app_tenant(request, who))

    def _teller(self, channel: Channel) -> Callable[[str], None]:
        """Tells progress, from any thread; what the caller has no credit for is left out."""

        def tell(said: str) -> None:
            if channel.ready:
                channel.event(a.AppProgress(said[: a.MAX_OUTPUT]))

        def say(said: str) -> None:
            self._loop.call_soon_threadsafe(tell, said)

        return say

    def list(self, by: Authorized, request: a.AppList, channel: Channel) -> None:
        who = by.principal
        seen = [
            self._info(app)
            for app in self._house
            if self._membrane.permits(who, app_target(app.installed.name, who, self._membrane.holders), "app.list")
        ]
        channel.reply(a.Apps(tuple(seen)))

    def run(self, by: Authorized, request: a.AppRun, channel: Channel, *, sandboxed: bool) -> None:
        app = self._house.named(request.name)

        async def work() -> a.RunInfo:
            async with app.lock:
                if app.removed:
                    raise NotFound(f"{request.name} was removed", "llmosctl app list")
                run = await self._runner.run(app, request.arguments, sandboxed, request.restart)
                return self._run_info(app, run)

        if not sandboxed:
            self._recorder.happened(Kind.DAEMON, f"{by.principal.name} runs {request.name} WITHOUT A SANDBOX")
        in_loop(self._loop, work(), channel.reply, channel)

    def logs(self, by: Authorized, request: a.AppLogs, channel: Channel) -> None:
        app = self._house.named(request.name)
        run = app.run(request.run)
        self._listening.check_room()
        streams = self._runner.sandbox(run.sandboxed).streams

        async def work() -> a.RunInfo:
            since, told = request.since, list[ContainerId]()
            while True:
                containers = containers_of(run)
                fresh = [one for one in containers if one not in told]
                await self._listening.send(streams, fresh, request.follow, since, channel)
                told = containers
                if not request.follow or channel.over:
                    break
                await self._runner.changed(run, containers)
                if not run.alive and containers_of(run) == containers:
                    break
            return self._run_info(app, run)

        in_loop(self._loop, work(), channel.reply, channel)

    def input(self, by: Authorized, request: a.AppInput, channel: Channel) -> None:
        run = self._house.named(request.name).run(request.run)
        container = run.container
        if container is None or not run.alive:
            raise NotFound(f"run {request.run} of {request.name} takes no input: it is {run.state.value}")
        streams = self._runner.sandbox(run.sandboxed).streams

        async def work() -> Done:
            await self._runner.beside(lambda: streams.write(container, request.data))
            return Done()

        in_loop(self._loop, work(), channel.reply, channel)

    def stop(self, by: Authorized, request: a.AppStop, channel: Channel) -> None:
        app = self._house.named(request.name)
        runs = app.alive if request.run is None else [app.run(request.run)]

        async def work() -> a.AppInfo:
            await self._runner.stop(app, runs, request.grace)
            return self._info(app)

        in_loop(self._loop, work(), channel.reply, channel)

    def remove(self, by: Authorized, request: a.AppRemove, channel: Channel) -> None:
        app = self._house.named(request.name)

        def removed(done: None) -> None:
            self._recorder.commit(Kind.KEY, by, f"{request.name} removed", Done(), channel)

        in_loop(self._loop, self._installer.remove(app, by.principal), removed, channel)

    # --- shown

    def _info(self, app: App) -> a.AppInfo:
        installed = app.installed
        return a.AppInfo(
            name=installed.name,
            version=installed.manifest.version,
            about=installed.manifest.about,
            tenant=installed.tenant,
            role=installed.manifest.role,
            installed=installed.at,
            by=installed.by,
            image_size=installed.image_size,
            own_size=installed.own_size,
            warm=len(app.warm),
            runs=tuple(self._run_info(app, run) for run in app.runs.values()),
        )

    def _run_info(self, app: App, run: Run) -> a.RunInfo:
        return a.RunInfo(
            run=run.number,
            state=run.state,
            health=self._health(app, run),
            sandbox=RUNTIMES[run.sandboxed],
            started=run.started,
            ended=run.ended,
            status=run.status,
            reason=run.reason,
            restarts=run.restarts,
        )

    def _health(self, app: App, run: Run) -> a.Health:
        silent, allowed = self._silence(app.installed.name), app.installed.manifest.health.silence
        up = self._clock() - (run.begun or run.started)
        if silent is None or silent > up:
            return a.Health.SILENT if allowed and up > allowed else a.Health.QUIET
        return a.Health.SILENT if allowed and silent > allowed else a.Health.HEALTHY
