"""From `app.run` to the first thing that the app says after its first call of the kernel: warm, cold, and bare.

The app connects, lists its memory and says so. A warm start takes a container that waits; a cold one makes it. The peer
is a container of the image that apps are built on, made and started through the engine itself, whose Python says one
line: what any start costs here. Rounds are in turns, and warm ones begin when a container waits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import docker

import llmos
from bench.daemon import daemon
from bench.report import Fact, Figure, Findings, compare, percentile
from tests.docker.engine import TestEngine, find_engine

RUNTIMES = ("runc", "runsc")
APP = "starter"
MANIFEST = f"""
name = "{APP}"
version = "1.0"
[[permissions]]
object = "mem:/$self/*"
action = "mem.*"
"""
PROGRAM = """
import llmos
with llmos.connect() as system:
    system.memory.list()
    print("ready", flush=True)
"""
_PATIENCE = 60.0
_QUIET = 0.3


@dataclass(slots=True, eq=False)
class _Case:
    """Milliseconds of one runtime."""

    runtime: str
    warm_system: llmos.System
    cold_system: llmos.System
    warm: list[float] = field(default_factory=list)
    cold: list[float] = field(default_factory=list)
    begun: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)


def run(quick: bool) -> Findings:
    """Measure all runtimes that the engine has, in turns. Raises `MissingEngineError`."""
    engine = find_engine()
    with ExitStack() as stack:
        folder = _folder(Path(stack.enter_context(TemporaryDirectory(prefix="llmos-"))))
        cases = [
            stack.enter_context(_case(engine, runtime, folder)) for runtime in RUNTIMES if runtime in engine.runtimes
        ]
        for _ in range(3 if quick else 30):
            for case in cases:
                _round(engine, case)
    engine.client.close()
    return Findings(tuple(figure for case in cases for figure in _figures(case)), tuple(_facts(cases)))


@contextmanager
def _case(engine: TestEngine, runtime: str, folder: Path) -> Iterator[_Case]:
    with _installed(engine, runtime, 1, folder) as warm, _installed(engine, runtime, 0, folder) as cold:
        yield _Case(runtime, warm, cold)


@contextmanager
def _installed(engine: TestEngine, runtime: str, warm: int, folder: Path) -> Iterator[llmos.System]:
    settings = (f"sandbox.runtime={runtime}", f"sandbox.base={engine.base}", f"sandbox.warm={warm}")
    with daemon(settings=settings, device_pages=8, host_memory="32MiB") as served, served.connect() as system:
        system.apps.install(folder)
        try:
            yield system
        finally:
            system.apps.stop(APP, grace=0)
            system.apps.remove(APP)


def _round(engine: TestEngine, case: _Case) -> None:
    _await_warm(case.warm_system)
    began = time.perf_counter()
    run = case.warm_system.apps.run(APP)
    case.begun.append(1e3 * (time.perf_counter() - began))
    with run.output() as output:
        next(output)
        case.warm.append(1e3 * (time.perf_counter() - began))
    run.wait()
    began = time.perf_counter()
    run = case.cold_system.apps.run(APP)
    with run.output() as output:
        next(output)
        case.cold.append(1e3 * (time.perf_counter() - began))
    run.wait()
    case.bare.append(1e3 * _bare(engine.client, engine.base, case.runtime))


def _await_warm(system: llmos.System) -> None:
    """A container waits, and what prepared it has come to rest."""
    waiting, until = threading.Event(), time.monotonic() + _PATIENCE
    while not system.apps.list()[0].warm and time.monotonic() < until:
        waiting.wait(_QUIET / 10)
    waiting.wait(_QUIET)


def _bare(client: docker.APIClient, base: str, runtime: str) -> float:
    """Seconds until a plain container's Python has said a line."""
    began = time.perf_counter()
    config = client.create_host_config(runtime=runtime, network_mode="none")
    made = client.create_container(base, ["python3", "-c", "print('ready')"], host_config=config)["Id"]
    try:
        said = client.attach(made, stream=True, logs=True)
        client.start(made)
        next(iter(said))
        return time.perf_counter() - began
    finally:
        client.remove_container(made, force=True)


def _figures(case: _Case) -> Iterator[Figure]:
    peer = f"plain container, {case.runtime}"
    yield compare(f"warm start, {case.runtime}", "ms", case.warm, peer, case.bare, "lower")
    yield compare(f"cold start, {case.runtime}", "ms", case.cold, peer, case.bare, "lower")


def _facts(cases: list[_Case]) -> Iterator[Fact]:
    for case in cases:
        for name, times in (("warm start", case.warm), ("cold start", case.cold), ("app.run, warm", case.begun)):
            for percent in (50, 99):
                yield Fact(f"{name}, {case.runtime}, p{percent} of {len(times)}", percentile(times, percent), "ms")


def _folder(place: Path) -> Path:
    for name, text in (("app.toml", MANIFEST), ("__init__.py", ""), ("__main__.py", PROGRAM)):
        (place / name).write_text(text, encoding="utf-8")
    return place
