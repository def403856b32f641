"""Puts the apps of a daemon together: where they are installed, what runs them, and their calls."""

from __future__ import annotations

import time
from dataclasses import dataclass

from llmos.kernel.boot.security import Security
from llmos.kernel.boot.service import Boot
from llmos.kernel.gate.apps.house import House
from llmos.kernel.gate.apps.installed import AppFolders
from llmos.kernel.gate.apps.installer import Installer
from llmos.kernel.gate.apps.listening import Listening
from llmos.kernel.gate.apps.runner import Runner
from llmos.kernel.gate.calls.apps import AppCalls
from llmos.kernel.security.audit.record import Kind
from llmos.sandbox.bare import bare_sandbox
from llmos.sandbox.on_docker import docker_sandbox
from llmos.sandbox.proxy import Proxies


@dataclass(frozen=True, slots=True)
class AppParts:
    """The parts."""

    runner: Runner
    listening: Listening
    installer: Installer
    calls: AppCalls
    ways: Proxies

    @classmethod
    def open(cls, boot: Boot, security: Security) -> AppParts:
        """Listen for what is installed. Raises `InvalidArgument` for a damaged record."""
        wanted, house, folders = boot.settings.sandbox, House(), AppFolders(boot.home.apps)
        boxed = docker_sandbox(boot.home.root, wanted.runtime)

        def happened(detail: str, outcome: str) -> None:
            security.recorder.happened(Kind.DAEMON, detail, outcome)

        def silence(app: str) -> float | None:
            identity = security.keyring.named(app)
            last = security.gate.last_call(identity.public) if identity is not None else None
            return boot.loop.time() - last if last is not None else None

        def let_through(app: str, host: str, allowed: bool) -> None:
            detail = f"{app} reaches {host}" if allowed else f"{app} may not reach {host[:200]!r}"
            boot.loop.call_soon_threadsafe(happened, detail, "ok" if allowed else "denied")

        ways = Proxies(let_through)
        runner = Runner(
            boot.loop, house, folders, boxed, bare_sandbox(boot.home.run / "bare"), wanted.warm, time.time, happened
        )
        installer = Installer(
            house,
            folders,
            runner,
            boxed,
            ways,
            security.keyring,
            security.keeper,
            security.gate,
            wanted.base,
            time.time,
        )
        installer.begin()
        security.gate.on_server_key = installer.refresh_keys
        listening = Listening(boot.loop)
        calls = AppCalls(
            boot.loop, house, installer, runner, listening, security.membrane, security.recorder, silence, time.time
        )
        return cls(runner, listening, installer, calls, ways)

    def close(self) -> None:
        """End what runs."""
        self.listening.close()
        self.runner.close()
        self.ways.end()
