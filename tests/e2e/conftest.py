"""Daemons, the reference, and the count of what a test leaves in its own process.

Daemons live for the session, because an engine's start costs seconds; each test lives in one through a `House`, which
checks what is left in it. `roomy` has room for everything at once, `tight` for a third of what its tests need.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from llmos.drivers.models.location import models_directory
from llmos.drivers.models.store import ModelStore, ResolvedModel
from llmos.syscalls.abi.errors import NotFound
from tests.e2e.daemon_process import Daemon, start_daemon
from tests.e2e.greedy_reference import Reference
from tests.e2e.house import House, house

MODEL = "smollm2:135m"
EXACT = ("engine.device=cpu", "engine.weights=exact")


@pytest.fixture(scope="session")
def model() -> ResolvedModel:
    """The default model, pulled if it is not there yet."""
    store = ModelStore(models_directory(None, os.environ))
    try:
        return store.resolve(MODEL)
    except NotFound:
        pulled = subprocess.run(
            [sys.executable, "-m", "llmos.drivers.models", "pull", MODEL], capture_output=True, text=True, check=False
        )
    if pulled.returncode != 0:
        pytest.skip(f"{MODEL} cannot be had here: {pulled.stderr.strip()[-500:]}")
    return store.resolve(MODEL)


@pytest.fixture(scope="session")
def reference(model: ResolvedModel, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """What transformers says; see `greedy_reference`."""
    output = tmp_path_factory.mktemp("reference") / "greedy.json"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "tests.e2e.greedy_reference", str(model.directory), str(output)],
        cwd=root,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "2", "GOMP_SPINCOUNT": "1000"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return msgspec.json.decode(output.read_bytes(), type=Reference)


@pytest.fixture(scope="session")
def roomy_daemon(model: ResolvedModel) -> Iterator[Daemon]:
    """Pools that hold every context of the tests at once; it listens on TCP too."""
    yield from _daemon(
        *EXACT,
        "engine.device_pages=352",
        'engine.host_memory="512 MiB"',
        "engine.step_tokens=256",
        'wire.listen=["tcp://127.0.0.1:0"]',
    )


@pytest.fixture(scope="session")
def tight_daemon(model: ResolvedModel) -> Iterator[Daemon]:
    """A device pool of 28 pages, 896 tokens."""
    yield from _daemon(*EXACT, "engine.device_pages=28", 'engine.host_memory="384 MiB"', "engine.step_tokens=128")


@pytest.fixture
def roomy(roomy_daemon: Daemon) -> Iterator[House]:
    """A house with room."""
    with house(roomy_daemon) as lived:
        yield lived


@pytest.fixture
def tight(tight_daemon: Daemon) -> Iterator[House]:
    """A house without much room."""
    with house(tight_daemon) as lived:
        yield lived


@pytest.fixture(autouse=True)
def nothing_is_left_in_this_process() -> Iterator[None]:
    """A test leaves no thread, no descriptor and no OS process behind."""
    before, children = _held(), _children()
    yield
    assert _held() == before
    assert _children() <= children


def _daemon(*settings: str) -> Iterator[Daemon]:
    daemon = start_daemon(*settings)
    try:
        yield daemon
        daemon.stop()
    finally:
        daemon.destroy()


def _held() -> tuple[int, int]:
    return len(os.listdir("/proc/self/fd")), threading.active_count()


def _children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}
