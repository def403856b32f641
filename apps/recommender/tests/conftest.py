"""A daemon with the app's principal, which may do what the manifest says and nothing else, and a small catalogue."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import llmos
from llmos.apps.recommender.tests.small_catalogue import FILMS, RATINGS
from tests import conftest as settings_for_all_tests  # noqa: F401  (Hypothesis measures no time here either)
from tests.e2e.conftest import model  # noqa: F401  (a fixture)
from tests.e2e.daemon_process import Daemon, start_daemon, start_in

APP = Path(__file__).parents[1]
NAME, ROLE = "recommender", "app-recommender"
SETTINGS = ("engine.device=cpu", "engine.device_pages=128", 'engine.host_memory="128 MiB"')


@dataclass(slots=True)
class Site:
    """A daemon, and the folder with the keys of the app and of two who call it."""

    daemon: Daemon
    keys: Path

    def connect(self, name: str = NAME) -> llmos.System:
        """A connection of a principal."""
        return llmos.connect(self.daemon.endpoint, self.key(name))

    def key(self, name: str = NAME) -> Path:
        """The key file of a principal."""
        return self.keys / f"{name}.key"

    def crash(self) -> None:
        """The daemon dies without warning, and another begins in its home."""
        self.daemon.kill()
        self.daemon = start_in(self.daemon.home, *SETTINGS)


def manifest_rules() -> str:
    """The rules that the manifest asks for, as a file of a policy."""
    asked = tomllib.loads((APP / "app.toml").read_text(encoding="utf-8"))["permissions"]
    return "".join(
        ", ".join(("p", f"role:{ROLE}", "*", one["object"], one["action"], "allow", *_condition(one))) + "\n"
        for one in asked
    )


def _condition(permission: dict[str, str]) -> tuple[str, ...]:
    return (permission["condition"],) if "condition" in permission else ()


@pytest.fixture(scope="session")
def site(
    model: object,  # noqa: F811  (pulls the default model, or skips)
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """The default model and encoder, for all tests of the app."""
    keys = tmp_path_factory.mktemp("keys")
    site = Site(start_daemon(*SETTINGS), keys)
    try:
        with site.daemon.connect() as admin:
            admin.policy.apply("recommender.csv", manifest_rules())
            admin.keys.create(NAME, ROLE, kind="app", path=keys / f"{NAME}.key")
            for caller in ("anna", "bert"):
                admin.keys.create(caller, "developer", path=keys / f"{caller}.key")
            admin.files.write_bytes(f"/home/{NAME}/films.csv", FILMS.encode())
            admin.files.write_bytes(f"/home/{NAME}/ratings.csv", RATINGS.encode())
        yield site
        assert "Traceback" not in site.daemon.log, site.daemon.log
    finally:
        site.daemon.destroy()
