"""Installs apps: image, role, key and folder, in this order, and the record last; and takes them away.

It does not know calls. Rules: a version that cannot be built changes nothing; an app keeps its key, its principal and
what it has kept from version to version; the name of an app is never that of somebody who is none.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from msgspec import structs

from llmos.kernel.core.principal import Principal
from llmos.kernel.gate.apps.archive import MANIFEST, unpack
from llmos.kernel.gate.apps.house import App, House
from llmos.kernel.gate.apps.installed import KEY_FILE, SOCKET, WAY, AppFolders, Installed
from llmos.kernel.gate.apps.manifest import Manifest, parse_manifest
from llmos.kernel.gate.apps.role import asked, policy_file, rules
from llmos.kernel.gate.apps.runner import Runner
from llmos.kernel.gate.keeper import PolicyKeeper
from llmos.kernel.gate.server import Gate
from llmos.kernel.ports.sandbox import Image, ImageId, Sandbox, Ways
from llmos.kernel.security.identity.keyring import Keyring
from llmos.kernel.security.policy.difference import changes
from llmos.kernel.security.policy.store import FileChange
from llmos.syscalls.abi import apps as a
from llmos.syscalls.abi.errors import AlreadyExists, Busy, Error, InvalidArgument, NotSupported
from llmos.syscalls.abi.words import KeyKind
from llmos.syscalls.wire.home import MAX_IPC_PATH
from llmos.syscalls.wire.keys import Key, load_key, new_keypair, save_key

NO_IMAGE: Final = Image(ImageId(""), 0, 0)

_log = logging.getLogger("llmos.apps")


@dataclass(frozen=True, slots=True)
class Plan:
    """An app that could be installed."""

    manifest: Manifest
    tenant: str
    rules: str
    archive: bytes


class Installer:
    """Of one daemon. `base` is the image to build on, empty for the usual one."""

    def __init__(
        self,
        house: House,
        folders: AppFolders,
        runner: Runner,
        sandbox: Sandbox,
        ways: Ways,
        keyring: Keyring,
        keeper: PolicyKeeper,
        gate: Gate,
        base: str,
        clock: Callable[[], float],
    ) -> None:
        self._house = house
        self._folders = folders
        self._runner = runner
        self._sandbox = sandbox
        self._ways = ways
        self._keyring = keyring
        self._keeper = keeper
        self._gate = gate
        self._base = base
        self._clock = clock

    def begin(self) -> None:
        """Listen for the apps that are installed. Raises `InvalidArgument` for a damaged record."""
        for installed in self._folders.read():
            self._house.put(installed)
            self._listen(installed.name)
            self._open_way(installed)

    # --- before

    async def plan(self, name: str, archive: bytes, tenant: str) -> Plan:
        """Read and check an app. Raises `InvalidArgument`, `NotFound`, `AlreadyExists`."""
        manifest, text = await self._runner.beside(lambda: _read(archive, tenant))
        if manifest.name != name:
            raise InvalidArgument(f"app.toml names the app {manifest.name}, and {name} was asked about", "name it so")
        self._check_name(name, tenant)
        return Plan(manifest, tenant, text, archive)

    async def ask(self, plan: Plan) -> a.AppAsked:
        """What an app asks for, and what of that is new."""
        manifest, there = plan.manifest, self._house.find(plan.manifest.name)
        change = FileChange(policy_file(manifest.name), plan.rules)
        store, old = self._keeper.store, self._keeper.document
        document = await self._runner.beside(lambda: store.document((change,)))
        added, removed = changes(old, document)
        bounds = manifest.confinement
        return a.AppAsked(
            name=manifest.name,
            version=manifest.version,
            about=manifest.about,
            permissions=asked(manifest),
            limits=a.AppLimits(bounds.memory, bounds.cpus, bounds.processes, bounds.scratch),
            packages=manifest.image.packages,
            hosts=manifest.network.hosts,
            rules=plan.rules,
            installed=there.installed.manifest.version if there is not None else None,
            added=added,
            removed=removed,
        )

    # --- installing

    async def install(self, plan: Plan, by: Principal, say: Callable[[str], None]) -> App:
        """Install an app or another version of it. Raises what the engine, the policy and the disk say."""
        there = self._house.find(plan.manifest.name)
        if there is None:
            return await self._install(plan, by, say)
        async with there.lock:
            runs = there.alive
            old = there.installed
            app = await self._install(plan, by, say)
            await self._runner.stop(app, app.alive, grace=10.0)
            await self._runner.cool_down(app)
            for run in runs:
                await self._runner.run(app, run.arguments, run.sandboxed, run.restart)
            if old.image and old.image != app.installed.image:
                await self._runner.discard_image(ImageId(old.image))
        return app

    async def _install(self, plan: Plan, by: Principal, say: Callable[[str], None]) -> App:
        manifest = plan.manifest
        draft = Installed(manifest, plan.tenant, self._clock(), by.name, "", 0, 0, plan.archive)
        image = await self._build(draft, say)
        installed = structs.replace(draft, image=image.id, image_size=image.size, own_size=image.own)
        try:
            await self._settle(installed, plan, by)
        except Error:
            there = self._house.find(manifest.name)
            if image.id and (there is None or there.installed.image != image.id):
                await self._runner.discard_image(image.id)
            raise
        new = self._house.find(manifest.name) is None
        app = self._house.put(installed)
        if new:
            self._listen(manifest.name)
        await self._runner.beside(lambda: self._open_way(installed))
        self._runner.warm_up(app)
        return app

    async def _settle(self, installed: Installed, plan: Plan, by: Principal) -> None:
        """Role, key, folder, record."""
        name, role = installed.name, installed.manifest.role
        await self._keeper.apply(FileChange(policy_file(name), plan.rules), by, None)
        seen = await self._runner.beside(lambda: self._folders.prepare(name))
        self._give_key(Principal(name, role, plan.tenant, KeyKind.APP), seen / KEY_FILE)
        await self._runner.beside(lambda: self._folders.write(installed))

    async def _build(self, draft: Installed, say: Callable[[str], None]) -> Image:
        try:
            return await self._runner.beside(lambda: self._sandbox.images.build(draft.order(self._base), say))
        except NotSupported as error:
            say(f"{error.message}; {draft.name} is installed without an image, and cannot run before it has one")
            say(error.hint)
            return NO_IMAGE

    def _give_key(self, app: Principal, path: Path) -> None:
        """Its key: the one that it has, if that is still what it should be."""
        identity = self._keyring.named(app.name)
        if identity is not None and identity.principal == app and identity.revoked is None and path.exists():
            self._renew_server(path)
        else:
            pair = new_keypair()
            path.unlink(missing_ok=True)
            save_key(path, Key(app.name, pair, self._keyring.server.pair.public))
            self._keyring.renew(app, pair.public)
        self._folders.give(path, self._sandbox.user)

    def _renew_server(self, path: Path) -> None:
        key = load_key(path)
        if key.server != self._keyring.server.pair.public:
            path.unlink()
            save_key(path, Key(key.name, key.pair, self._keyring.server.pair.public))

    def refresh_keys(self) -> None:
        """The server key is another one: what containers see of it must be, too."""
        for app in self._house:
            path = self._folders.seen(app.installed.name) / KEY_FILE
            self._renew_server(path)
            self._folders.give(path, self._sandbox.user)

    def _open_way(self, installed: Installed) -> None:
        path, hosts = self._folders.seen(installed.name) / WAY, installed.manifest.network.hosts
        if hosts:
            self._ways.open(installed.name, path, self._sandbox.user, hosts)
        else:
            self._ways.close(path)

    def _listen(self, name: str) -> None:
        self._gate.listen(self._folders.seen(name) / SOCKET, self._sandbox.user)

    def _check_name(self, name: str, tenant: str) -> None:
        path = self._folders.seen(name) / SOCKET
        if len(os.fsencode(path)) > MAX_IPC_PATH:
            raise InvalidArgument(
                f"the path of its socket, {path}, is longer than {MAX_IPC_PATH} bytes", "a shorter name, or LLMOS_HOME"
            )
        identity = self._keyring.named(name)
        if identity is None:
            return
        who = identity.principal
        if who.kind is not KeyKind.APP or who.tenant != tenant:
            raise AlreadyExists(f"the name {name} is somebody else's", "choose another name in app.toml")

    # --- removing

    async def remove(self, app: App, by: Principal) -> None:
        """Take an app away that does not run. Raises `Busy`."""
        name = app.installed.name
        async with app.lock:
            if app.alive:
                raise Busy(f"{name} runs", f"llmosctl app stop {name}")
            await self._keeper.apply(FileChange(policy_file(name), None), by, None)
            identity = self._keyring.revoke(name)
            self._gate.revoke(identity.public)
            self._gate.ignore(self._folders.seen(name) / SOCKET)
            self._house.take_away(app)
            await self._runner.beside(lambda: self._ways.close(self._folders.seen(name) / WAY))
            await self._runner.discard_all(app)
            if app.installed.image:
                await self._runner.discard_image(ImageId(app.installed.image))
            await self._runner.beside(lambda: self._folders.remove(name))


def _read(archive: bytes, tenant: str) -> tuple[Manifest, str]:
    manifest = parse_manifest(unpack(archive)[MANIFEST])
    return manifest, rules(manifest, tenant)
