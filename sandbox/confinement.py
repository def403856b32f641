"""What every container of an app is made with, as the engine takes it.

It does not know engines' sockets. Rules, none of which an app can change: nobody's user, no capability, no new
privileges, the allow list of system calls, no network, a root that cannot be written, one folder of the host that
cannot either, a scratch folder in memory from which nothing runs, and limits on memory, processors, OS processes, open
files and what is kept of its output. Whatever else an image says is overridden.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Final

from docker.types import HostConfig, LogConfig, Mount, Ulimit

from llmos.kernel.ports.sandbox import Confinement
from llmos.sandbox.seccomp import profile

INSIDE: Final = "/run/llmos"
"""Where a container sees its folder."""

NOBODY: Final = 65_532
"""User and group in a container of a daemon that is root's; of any other daemon it is that daemon's own user."""

KEPT_OUTPUT, KEPT_FILES = "1m", 3
"""What is kept of what a container has said: the last three files of a megabyte."""

OPEN_FILES: Final = 1_024
SHARED_MEMORY: Final = 16 << 20
_PERIOD: Final = 100_000


GVISOR: Final = "runsc"
_KERNEL_MEMORY, _KERNEL_THREADS = 64 << 20, 96
"""What gVisor's own kernel takes, which runs within the container's limits."""


def with_kernel(asked: Confinement) -> Confinement:
    """Limits that leave the program of a container what it has asked for, where its kernel is in the container too.

    A thread of the program is there a process of the host and one of the kernel's.
    """
    return replace(asked, memory=asked.memory + _KERNEL_MEMORY, processes=2 * asked.processes + _KERNEL_THREADS)


def user() -> int:
    """Whose a container's program is."""
    return os.getuid() or NOBODY


def host_config(version: str, runtime: str, folder: Path, asked: Confinement) -> HostConfig:
    """Of a container. `version` is that of the engine's interface."""
    bounds = with_kernel(asked) if runtime == GVISOR else asked
    scratch = f"rw,noexec,nosuid,nodev,size={bounds.scratch},mode=0700,uid={user()},gid={user()}"
    return HostConfig(
        version=version,
        runtime=runtime,
        network_mode="none",
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges:true", f"seccomp={profile()}"],
        mem_limit=bounds.memory,
        memswap_limit=bounds.memory,
        cpu_period=_PERIOD,
        cpu_quota=round(bounds.cpus * _PERIOD),
        pids_limit=bounds.processes,
        ulimits=[
            Ulimit(name="nofile", soft=OPEN_FILES, hard=OPEN_FILES),
            Ulimit(name="core", soft=0, hard=0),
        ],
        shm_size=SHARED_MEMORY,
        ipc_mode="private",
        tmpfs={"/tmp": scratch},
        mounts=[Mount(INSIDE, os.fspath(folder), type="bind", read_only=True, propagation="rprivate")],
        log_config=LogConfig(type="json-file", config={"max-size": KEPT_OUTPUT, "max-file": str(KEPT_FILES)}),
        oom_score_adj=500,
    )
