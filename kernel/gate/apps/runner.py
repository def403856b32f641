"""Runs apps: begins their programs in containers that wait, begins them again when they end, and stops them.

It does not know calls or policies. Rules:

- The engine's work is done beside the loop; a run that is begun takes a container that waits, and another is prepared.
- What the engine tells of an end is believed once, for the container that it happened in.
- What an earlier daemon has left is ended and told before anything is begun; then runs with `always` are begun again.
- A failure of the engine ends the run that met it, with a reason, and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar

from llmos.kernel.gate.apps.house import App, House
from llmos.kernel.gate.apps.installed import AppFolders, Installed
from llmos.kernel.gate.apps.runs import KEPT_CONTAINERS, Run
from llmos.kernel.ports.sandbox import ContainerId, ContainerOrder, Ended, ImageId, Sandbox
from llmos.syscalls.abi.apps import Restart, RunState
from llmos.syscalls.abi.errors import Error, NotSupported

THREADS: Final = 16
CLOSE_SECONDS: Final = 5.0

Result = TypeVar("Result")

_log = logging.getLogger("llmos.apps")


class Runner:
    """Of one daemon. `boxed` runs programs in containers, `bare` without; `happened` notes what nobody asked for."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        house: House,
        folders: AppFolders,
        boxed: Sandbox,
        bare: Sandbox,
        warm: int,
        clock: Callable[[], float],
        happened: Callable[[str, str], None],
    ) -> None:
        self._loop = loop
        self._house = house
        self._folders = folders
        self._boxed = boxed
        self._bare = bare
        self._warm = warm
        self._clock = clock
        self._happened = happened
        self._threads = ThreadPoolExecutor(THREADS, "apps")
        self._watched: set[bool] = set()
        self._waiters: dict[int, list[asyncio.Future[None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._prepared = False
        """Whether the engine may have containers of this daemon."""

    def sandbox(self, sandboxed: bool) -> Sandbox:
        """Where a run's containers are."""
        return self._boxed if sandboxed else self._bare

    async def beside(self, work: Callable[[], Result]) -> Result:
        """Do something that blocks."""
        return await self._loop.run_in_executor(self._threads, work)

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Do something that nobody waits for; an exception in it is a bug and reaches the loop."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    # --- beginning

    async def run(self, app: App, arguments: tuple[str, ...], sandboxed: bool, restart: Restart | None = None) -> Run:
        """Begin a run; it is, or could not be. Raises what the engine says."""
        app.check_room()
        restart = restart or app.installed.manifest.restart
        run = Run(self._house.next_number(), arguments, sandboxed, restart, self._clock())
        app.runs[run.number] = run
        try:
            await self._begin(app, run)
        except Error as error:
            run.fails(error.message, self._clock())
            raise
        finally:
            self._tidy(app)
        await self._remember(app)
        return run

    async def _begin(self, app: App, run: Run) -> None:
        sandbox = self.sandbox(run.sandboxed)
        self._watch(run.sandboxed)
        container = await self._container(app, run.sandboxed)
        run.gets(container)
        try:
            await self.beside(lambda: sandbox.containers.begin(container, run.arguments))
        except Error:
            run.container = None
            await self._discard(run.sandboxed, [container])
            raise
        run.begins(self._clock())
        self._tell_changed(run)
        if run.early is not None:
            self._ended(run.early)
        elif run.stop_asked or self._closed:
            await self._stop_one(run, 0.0)

    async def _container(self, app: App, sandboxed: bool) -> ContainerId:
        if sandboxed and app.warm:
            found = app.warm.pop()
            self.warm_up(app)
            return found
        container = await self.beside(lambda: self._prepare(app.installed, sandboxed))
        if sandboxed:
            self.warm_up(app)
        return container

    def _prepare(self, installed: Installed, sandboxed: bool) -> ContainerId:
        """In a thread."""
        sandbox = self.sandbox(sandboxed)
        if sandboxed:
            self._prepared = True
            image = ImageId(installed.image)
            if not image:
                sandbox.images.probe()
                raise NotSupported(
                    f"{installed.name} was installed when no container engine answered", "install it again"
                )
        else:
            image = sandbox.images.build(installed.order(""), lambda said: None).id
        folder = self._folders.seen(installed.name)
        return sandbox.containers.prepare(ContainerOrder(installed.name, image, folder, installed.manifest.confinement))

    # --- the pool

    def warm_up(self, app: App) -> None:
        """Have as many containers wait as there should be."""
        if len(app.warm) < self._warm and not app.warming and app.installed.image and not (self._closed or app.removed):
            app.warming = True
            app.preparing = self.spawn(self._warm_one(app))

    async def _warm_one(self, app: App) -> None:
        installed = app.installed
        try:
            container = await self.beside(lambda: self._prepare(installed, True))
        except Error as error:
            app.warming = False
            _log.warning("no container of %s waits: %s", installed.name, error.message)
            return
        app.warming = False
        if app.installed is not installed or app.removed or self._closed:
            await self._discard(True, [container])
            return
        app.warm.append(container)
        self.warm_up(app)

    async def cool_down(self, app: App) -> None:
        """Let none wait that is of an image that is not the app's any more, and none be prepared of it."""
        old, app.warm = app.warm, []
        await self._discard(True, old)
        if app.preparing is not None:
            await asyncio.wait([app.preparing])

    # --- ending

    async def stop(self, app: App, runs: Iterable[Run], grace: float) -> None:
        """End runs, and wait until they have."""
        alive = [run for run in runs if run.alive]
        for run in alive:
            self.spawn(self._stop_one(run, grace))
        for run in alive:
            await self._when_ended(run)
        await self._remember(app)

    async def _stop_one(self, run: Run, grace: float) -> None:
        container = run.container
        if not run.stops():
            if not run.alive:
                self._tell_changed(run)
            return
        if container is not None:
            try:
                await self.beside(lambda: self.sandbox(run.sandboxed).containers.end(container, grace))
            except Error as error:
                _log.warning("run %d cannot be stopped: %s", run.number, error.message)

    async def changed(self, run: Run, containers: Sequence[ContainerId]) -> None:
        """Wait until a run has ended for good, or is in another container than these."""
        while run.alive and containers_of(run) == list(containers):
            await self._next_change(run)

    async def _when_ended(self, run: Run) -> None:
        while run.alive:
            await self._next_change(run)

    async def _next_change(self, run: Run) -> None:
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiters.setdefault(run.number, []).append(future)
        await future

    def _tell_changed(self, run: Run) -> None:
        for future in self._waiters.pop(run.number, []):
            if not future.done():
                future.set_result(None)

    def _watch(self, sandboxed: bool) -> None:
        if sandboxed not in self._watched:
            self._watched.add(sandboxed)
            self.sandbox(sandboxed).containers.watch(self._from_thread)

    def _from_thread(self, ended: Ended) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ended, ended)

    def _ended(self, ended: Ended) -> None:
        found = self._house.run_in(ended.container)
        if found is None:
            return
        app, run = found
        match run.state:
            case RunState.RUNNING | RunState.STOPPING:
                self._go_on(app, run, run.ends(ended, self._clock()))
            case RunState.STARTING:
                run.early = ended
            case RunState.WAITING | RunState.ENDED:
                return

    def _go_on(self, app: App, run: Run, wait: float | None) -> None:
        name = app.installed.name
        _log.info("run %d of %s: %s%s", run.number, name, run.reason, "" if wait is None else f"; again in {wait:g} s")
        self._happened(f"run {run.number} of {name}: {run.reason}", "ok" if run.status == 0 else "failed")
        if wait is not None:
            self._loop.call_later(wait, self._again, app, run)
            return
        self._tell_changed(run)
        self._tidy(app)

    def _again(self, app: App, run: Run) -> None:
        if run.state is RunState.WAITING and not self._closed:
            self.spawn(self._begin_again(app, run))

    async def _begin_again(self, app: App, run: Run) -> None:
        run.again()
        old, run.earlier = run.earlier[:-KEPT_CONTAINERS], run.earlier[-KEPT_CONTAINERS:]
        await self._discard(run.sandboxed, old)
        try:
            await self._begin(app, run)
        except Error as error:
            self._go_on(app, run, run.fails(error.message, self._clock()))

    # --- tidying

    def _tidy(self, app: App) -> None:
        for run in app.forget_old():
            self.spawn(self._discard(run.sandboxed, containers_of(run)))

    async def discard_all(self, app: App) -> None:
        """Discard every container of an app that does not run."""
        await self.cool_down(app)
        for run in app.runs.values():
            await self._discard(run.sandboxed, containers_of(run))

    async def discard_image(self, image: ImageId) -> None:
        """Remove an image that nothing runs on any more."""
        try:
            await self.beside(lambda: self._boxed.images.discard_image(image))
        except Error as error:
            _log.warning("an image cannot be removed: %s", error.message)

    async def _discard(self, sandboxed: bool, containers: Iterable[ContainerId]) -> None:
        discard = self.sandbox(sandboxed).containers.discard
        for container in containers:
            try:
                await self.beside(partial(discard, container))
            except Error as error:
                _log.warning("a container cannot be discarded: %s", error.message)

    async def _remember(self, app: App) -> None:
        """Keep which runs are to be begun with the daemon, before it is said that they run, or do not any more."""
        async with app.writing:
            wanted = tuple(run.arguments for run in app.alive if run.restart is Restart.ALWAYS and run.sandboxed)
            if wanted == app.wanted or self._closed or app.removed:
                return
            try:
                await self.beside(lambda: self._folders.write_wanted(app.installed.name, wanted))
                app.wanted = wanted
            except Error as error:
                _log.error("%s will not be begun with the daemon: %s", app.installed.name, error.message)

    # --- the daemon's begin and end

    def begin(self) -> None:
        """End what an earlier daemon has left, and begin what should always run. Nothing is done without apps."""
        if list(self._house):
            self.spawn(self._take_over())

    async def _take_over(self) -> None:
        try:
            left = await self.beside(self._boxed.containers.found)
        except Error as error:
            _log.warning("apps cannot run: %s (%s)", error.message, error.hint)
            return
        for one in left:
            if one.begun and one.ended is None:
                self._happened(f"a run of {one.app} was left by an earlier daemon, and is ended", "ended")
        await self._discard(True, [one.container for one in left])
        for app in self._house:
            self.warm_up(app)
            app.wanted = await self.beside(partial(self._folders.read_wanted, app.installed.name))
            for arguments in app.wanted:
                self.spawn(self._run_again(app, arguments))

    async def _run_again(self, app: App, arguments: tuple[str, ...]) -> None:
        async with app.lock:
            try:
                await self.run(app, arguments, sandboxed=True)
            except Error as error:
                _log.error("%s cannot be begun: %s", app.installed.name, error.message)

    def close(self) -> None:
        """End everything that runs, and discard what waits. Blocks; the loop does nothing else any more."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        for app in self._house:
            for run in app.alive:
                if run.container is not None:
                    self._threads.submit(self._end_now, run.sandboxed, run.container)
            for container in app.warm:
                self._threads.submit(self._discard_now, container)
        self._threads.shutdown()
        if self._prepared:
            self._discard_rest()
        for sandbox in (self._boxed, self._bare):
            sandbox.streams.close()

    def _discard_rest(self) -> None:
        """What nobody waits for any more: ended runs, and containers that were being prepared."""
        try:
            left = self._boxed.containers.found()
        except Error as error:
            _log.warning("containers cannot be discarded: %s", error.message)
            return
        for one in left:
            self._discard_now(one.container)

    def _end_now(self, sandboxed: bool, container: ContainerId) -> None:
        containers = self.sandbox(sandboxed).containers
        try:
            containers.end(container, CLOSE_SECONDS)
            containers.discard(container)
        except Error as error:
            _log.warning("an app cannot be ended: %s", error.message)

    def _discard_now(self, container: ContainerId) -> None:
        try:
            self._boxed.containers.discard(container)
        except Error as error:
            _log.warning("a container cannot be discarded: %s", error.message)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._loop.call_exception_handler({"message": "a task of the apps failed", "exception": error})


def containers_of(run: Run) -> list[ContainerId]:
    """All that it was begun in, as far as they are kept, in order."""
    return [*run.earlier, *([run.container] if run.container is not None else [])]
