"""A daemon whose policy and keys a test may change, and people of several tenants in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import llmos
from tests.e2e.daemon_process import Daemon, start_daemon


class Site:
    """A daemon, its administrator, and people of two tenants."""

    def __init__(self, daemon: Daemon, admin: llmos.System, folder: Path) -> None:
        self.daemon = daemon
        self.admin = admin
        self.folder = folder
        self._made = 0

    def person(
        self, role: str = "developer", tenant: str = "acme", days: float | None = None, rate: float | None = None
    ) -> tuple[str, Path]:
        """Somebody new: the name and the key file."""
        self._made += 1
        name = f"{role}-{tenant}-{self._made}"
        path = self.folder / f"{name}.key"
        self.admin.keys.create(name, role, tenant, expires_days=days, rate=rate, path=path)
        return name, path

    def connect(self, path: Path) -> llmos.System:
        return llmos.connect(self.daemon.endpoint, path)

    def clean_up(self) -> None:
        """End the processes of all tenants."""
        for one in self.admin.processes():
            self.admin.process(one.pid).kill()


@contextmanager
def open_site(folder: Path) -> Iterator[Site]:
    """A running one; key files are in a folder."""
    daemon = start_daemon("engine.device=cpu", "engine.device_pages=256", 'wire.listen=["tcp://127.0.0.1:0"]')
    try:
        with daemon.connect() as admin:
            yield Site(daemon, admin, folder)
        assert daemon.process.poll() is None, daemon.log
    finally:
        daemon.destroy()
