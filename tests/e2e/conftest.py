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
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path

import msgspec
import psutil
import pytest

from llmos.drivers.models.location import models_directory
from llmos.drivers.models.store import ModelStore, ResolvedModel
from llmos.syscalls.abi.errors import NotFound
from tests.e2e import greedy_reference
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
def reference(model: ResolvedModel, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """What transformers says; computed once for a model and the versions of everything that takes part."""
    cache = getattr(pytestconfig, "cache", None)
    folder = cache.mkdir("greedy_reference") if cache is not None else tmp_path_factory.mktemp("reference")
    output = folder / f"{_reference_digest(model)}.json"
    if not output.exists():
        _compute_reference(model, output)
    return msgspec.json.decode(output.read_bytes(), type=Reference)


def _reference_digest(model: ResolvedModel) -> str:
    """Changes with whatever the reference depends on."""
    parts = [model.fingerprint, sys.version, version("torch"), version("transformers")]
    parts += [path.read_text(encoding="utf-8") for path in (Path(greedy_reference.__file__), greedy_reference.LICENSE)]
    return blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def _compute_reference(model: ResolvedModel, output: Path) -> None:
    fresh = output.with_suffix(".new")
    done = subprocess.run(
        [sys.executable, "-m", greedy_reference.__name__, str(model.directory), str(fresh)],
        cwd=greedy_reference.LICENSE.parent,
        # Threads that spin for each other are many times slower as soon as something else wants a core.
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "2", "GOMP_SPINCOUNT": "1000"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    fresh.replace(output)


@pytest.fixture(scope="package")
def roomy_daemon(model: ResolvedModel) -> Iterator[Daemon]:
    """Pools that hold every context of the tests at once; it listens on TCP too."""
    yield from _daemon(
        *EXACT,
        "engine.device_pages=352",
        'engine.host_memory="512 MiB"',
        "engine.step_tokens=256",
        'wire.listen=["tcp://127.0.0.1:0"]',
    )


@pytest.fixture(scope="package")
def tight_daemon(model: ResolvedModel) -> Iterator[Daemon]:
    """A device pool of 17 pages, 544 tokens."""
    yield from _daemon(*EXACT, "engine.device_pages=17", 'engine.host_memory="384 MiB"', "engine.step_tokens=128")


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
