"""A daemon with the encoder, the default model and the app's own role and key; and a small library of documents."""

from __future__ import annotations

import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import tests.conftest  # the profile of Hypothesis  # noqa: F401
from tests.e2e.conftest import model  # a fixture  # noqa: F401
from tests.e2e.daemon_process import STOP_SECONDS, Daemon, start_daemon

APP = "customer_service"
ROLE = "app-customer-service"
ENCODER = "minilm:l6-v2"
FOLDER = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Place:
    """The daemon, and the key of the app."""

    daemon: Daemon
    key: Path


@pytest.fixture(scope="session")
def encoder() -> None:
    """The default encoder is in the store before a daemon looks for it."""
    command = [sys.executable, "-m", "llmos.drivers.models", "pull", ENCODER]
    pulled = subprocess.run(command, capture_output=True, text=True, check=False)
    if pulled.returncode != 0:
        pytest.skip(f"{ENCODER} cannot be had here: {pulled.stderr.strip()[-500:]}")


@pytest.fixture(scope="session")
def place(model: object, encoder: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:  # noqa: F811
    """A daemon that knows the app by the permissions of its manifest, and nothing more."""
    daemon = start_daemon("engine.device=cpu")
    try:
        folder = tmp_path_factory.mktemp("app")
        rules, key = folder / f"{ROLE}.csv", folder / "app.key"
        rules.write_text(manifest_rules())
        daemon.llmosctl("policy", "apply", str(rules), "--yes")
        daemon.llmosctl("key", "create", APP, "--role", ROLE, "--kind", "app", "--out", str(key))
        yield Place(daemon, key)
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(STOP_SECONDS) == 0, daemon.log
        assert "Traceback" not in daemon.log, daemon.log
    finally:
        daemon.destroy()


def manifest_rules() -> str:
    """The rows that the app's manifest asks for."""
    manifest = tomllib.loads((FOLDER / "app.toml").read_text())
    rows = (
        f"p, role:{ROLE}, *, {one['object']}, {one['action']}, allow, {one.get('condition', '')}".rstrip(", ")
        for one in manifest["permissions"]
    )
    return "\n".join((*rows, ""))
