"""Tries what would lead out of a container, and says of each how it ended: `ok`, or the kind of the error."""

import json
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path


def how(work: Callable[[], object]) -> str:
    try:
        work()
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return type(error).__name__
    return "ok"


def opened(path: str, mode: str) -> None:
    with open(path, mode):
        return


def device(kind: int, major: int, minor: int) -> None:
    place = f"/tmp/{major}.{minor}"
    os.mknod(place, kind | 0o600, os.makedev(major, minor))
    os.close(os.open(place, os.O_RDONLY))


def reached(pids: range) -> int:
    """How many other processes a signal would reach."""
    return sum(how(lambda pid=pid: os.kill(pid, 0)) == "ok" for pid in pids if pid != os.getpid())  # type: ignore[misc]


def stream_of(command: list[str]) -> str:
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout


program = Path("/tmp/program")
program.write_text("#!/bin/sh\nexit 0\n")
program.chmod(0o755)
done = {
    "memory of the machine": how(lambda: opened("/dev/mem", "rb")),
    "virtual machines": how(lambda: opened("/dev/kvm", "rb")),
    "memory of the kernel": how(lambda: opened("/proc/kcore", "rb")),
    "the disk": how(lambda: device(stat.S_IFBLK, 254, 0)),
    "the memory device": how(lambda: device(stat.S_IFCHR, 1, 1)),
    "a program in scratch": how(lambda: subprocess.run([program])),
    "the root": how(lambda: opened("/written", "w")),
    "the SDK": how(lambda: opened("/usr/lib/llmos/sdk/llmos/__init__.py", "a")),
    "the app": how(lambda: opened("/usr/lib/llmos/app/probe/__main__.py", "a")),
    "its key": how(lambda: opened("/run/llmos/app.key", "a")),
    "a file beside its key": how(lambda: opened("/run/llmos/more", "w")),
    "its key away": how(lambda: os.unlink("/run/llmos/app.key")),
    "its socket away": how(lambda: os.rename("/run/llmos/kernel.sock", "/run/llmos/gone")),
    "another owner": how(lambda: os.chown(program, 0, 0)),
    "root's rights": how(lambda: os.setuid(0)),
    "another group": how(lambda: os.setgroups([0])),
    "more open files": how(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (65_536, 65_536))),
    "a program for crashes": how(lambda: opened("/proc/sys/kernel/core_pattern", "w")),
    "keys to the kernel": how(lambda: opened("/proc/sysrq-trigger", "w")),
    "the files of the first process": how(lambda: os.listdir("/proc/2/root")),
    "a signal to all": how(lambda: os.kill(-1, signal.SIGURG)),
}
found = {
    "sockets of engines": [path for path in ("/var/run/docker.sock", "/run/docker.sock") if os.path.exists(path)],
    "limits that can be changed": [str(p) for p in Path("/sys/fs/cgroup").glob("*/*") if os.access(p, os.W_OK)],
    "the daemon's home": [path for path in sys.argv[1:] if os.path.exists(path)],
    "processes that a signal reaches": [str(count) for count in (reached(range(1, 40_000)),) if count],
    "root by su": [said for said in (stream_of(["su", "-c", "id -u"]),) if said],
    "root by mount": [said for said in (stream_of(["mount", "-v", "-t", "tmpfs", "none", "/mnt"]),) if said],
}
json.dump({"done": done, "found": found}, sys.stdout)
