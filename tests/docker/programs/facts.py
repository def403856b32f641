"""What a program in a container sees of itself and around it."""

import json
import os
import resource
import socket
import stat
from pathlib import Path

LIMITS = {
    "memory": ("memory/memory.limit_in_bytes", "memory.max"),
    "swap": ("memory/memory.memsw.limit_in_bytes", "memory.swap.max"),
    "processes": ("pids/pids.max", "pids.max"),
    "processors": ("cpu/cpu.cfs_quota_us", "cpu.max"),
}


def status() -> dict[str, str]:
    pairs = (line.partition(":") for line in Path("/proc/self/status").read_text().splitlines())
    return {name: value.strip() for name, _, value in pairs}


def mounts() -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        words = line.split(" ")
        rest = words[words.index("-") + 1 :]
        found.append({"place": words[4], "options": words[5].split(","), "kind": rest[0], "source": rest[1]})
    return found


def limit(paths: tuple[str, ...]) -> str:
    for path in paths:
        place = Path("/sys/fs/cgroup") / path
        if place.exists():
            return place.read_text().split()[0]
    return ""


def walk() -> tuple[list[str], list[str]]:
    """Files that give their owner's rights, and what can be written, apart from kernels' and the scratch folder."""
    rights, writable = [], []
    for folder, folders, files in os.walk("/"):
        if folder == "/":
            folders[:] = [name for name in folders if name not in ("proc", "sys", "dev", "tmp")]
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
                rights.append(path)
            if not stat.S_ISLNK(mode) and not stat.S_ISSOCK(mode) and can_write(path, mode):
                writable.append(path)
    return rights, writable


def can_write(path: str, mode: int) -> bool:
    try:
        if stat.S_ISDIR(mode):
            place = os.path.join(path, ".written")
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY))
            os.unlink(place)
        else:
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def seen() -> dict[str, list[int]]:
    """What is in the folder of the host: owner, group and mode of each."""
    found = {}
    for path in sorted(Path("/run/llmos").iterdir()):
        about = path.lstat()
        found[path.name] = [about.st_uid, about.st_gid, stat.S_IMODE(about.st_mode)]
    return found


def opened() -> dict[str, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
    return found


rights, writable = walk()
print(
    json.dumps(
        {
            "uid": os.getresuid(),
            "gid": os.getresgid(),
            "groups": os.getgroups(),
            "status": status(),
            "mounts": mounts(),
            "interfaces": [line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]],
            "environment": dict(os.environ),
            "open_files": resource.getrlimit(resource.RLIMIT_NOFILE),
            "core": resource.getrlimit(resource.RLIMIT_CORE),
            "limits": {name: limit(paths) for name, paths in LIMITS.items()},
            "processes": [int(name) for name in os.listdir("/proc") if name.isdigit()],
            "devices": sorted(os.listdir("/dev")),
            "seen": seen(),
            "opened": opened(),
            "rights": rights,
            "writable": writable,
            "hostname": socket.gethostname(),
        }
    )
)
