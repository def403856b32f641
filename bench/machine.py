"""The machine that figures were taken on, in the words that make figures comparable."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Machine:
    """Memory in GiB; `load` is the load average of the last minute when the benchmark began."""

    cpu: str
    cores: int
    memory: float
    system: str
    python: str
    torch: str
    transformers: str
    pyzmq: str
    load: float


def this_machine() -> Machine:
    """Describe this machine as it is now."""
    return Machine(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)),
        memory=round(psutil.virtual_memory().total / 2**30, 1),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        torch=version("torch"),
        transformers=version("transformers"),
        pyzmq=version("pyzmq"),
        load=os.getloadavg()[0],
    )


def _cpu() -> str:
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or "unknown"
    model = re.search(r"^model name\s*:\s*(.+)$", told, re.MULTILINE)
    return model[1].strip() if model else "unknown"
