"""The environment that workers are started in."""

from __future__ import annotations

import os
from pathlib import Path

_SPINS = "1000"
"""How long the threads of the linear algebra spin for each other. The default is ten times slower or worse as soon as
another process wants a core, because they spin away the time that the other thread waits for.
"""


def import_environment() -> dict[str, str]:
    """An environment in which a fresh interpreter can import what this process can."""
    sources = str(Path(__file__).parents[3])
    inherited = os.environ.get("PYTHONPATH")
    return dict(os.environ) | {"PYTHONPATH": f"{sources}{os.pathsep}{inherited}" if inherited else sources}


def model_environment(threads: int | None) -> dict[str, str]:
    """That, for a worker that computes a model with so many threads (None: all): never online."""
    environment = import_environment()
    environment["HF_HUB_OFFLINE"] = "1"
    environment["TOKENIZERS_PARALLELISM"] = "false"
    if "OMP_WAIT_POLICY" not in environment:
        environment.setdefault("GOMP_SPINCOUNT", _SPINS)
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    return environment
