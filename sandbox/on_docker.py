"""The sandbox on a Docker engine."""

from __future__ import annotations

import os
from pathlib import Path

from llmos.kernel.ports.sandbox import Sandbox
from llmos.sandbox.confinement import user
from llmos.sandbox.containers import Containers
from llmos.sandbox.engine import Engine
from llmos.sandbox.images import Images


def docker_sandbox(home: Path, runtime: str) -> Sandbox:
    """Of one home; `runtime` is `auto`, `runc` or `runsc`. The engine is reached when it is first needed."""
    engine = Engine(runtime)
    containers = Containers(engine, home)
    return Sandbox(Images(engine, os.fspath(home)), containers, containers, user())
