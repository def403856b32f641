"""What `doctor` looks at: one function for each thing, from the interpreter to the container engine.

Each gives a finding and never fails. Nothing is changed, and no heavy library is imported: packages are looked up in
the metadata of what is installed, the model store is asked as a program.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil

from llmos.apps.llmosctl.connection import connected
from llmos.apps.llmosctl.failures import Failed
from llmos.apps.llmosctl.models import store_command
from llmos.apps.llmosctl.options import Options
from llmos.syscalls.abi.errors import Error
from llmos.syscalls.abi.words import Record
from llmos.syscalls.wire.home import socket_endpoint

LEAST_PYTHON = (3, 11)
HOST_POOL = 2 << 30
"""Bytes that weights of a small model and a modest host pool take."""
DISK = 1 << 30
_REQUIREMENT = re.compile(r"[A-Za-z0-9._-]+")


class Finding(Record, frozen=True):
    """One thing that was looked at; `remedy` says how to get it when it is not there."""

    name: str
    ok: bool
    required: bool
    detail: str
    remedy: str = ""


def examine(options: Options) -> tuple[Finding, ...]:
    """Look at everything."""
    examinations: tuple[Callable[[], Finding], ...] = (
        python,
        operating_system,
        packages,
        torch_build,
        lambda: model(options),
        lambda: home(options),
        lambda: socket_path(options),
        lambda: keys(options),
        memory,
        shared_memory,
        lambda: disk(options),
        lambda: daemon(options),
        nvml,
        container_engine,
    )
    return tuple(examination() for examination in examinations)


def python() -> Finding:
    """The interpreter is new enough."""
    ok = sys.version_info >= LEAST_PYTHON
    least = ".".join(map(str, LEAST_PYTHON))
    return Finding("Python", ok, True, platform.python_version(), f"install Python {least} or newer, then make setup")


def operating_system() -> Finding:
    """Linux: the daemon uses its memory files and process descriptors."""
    name = platform.system()
    return Finding("operating system", name == "Linux", True, f"{name} on {platform.machine()}", "run llmos on Linux")


def packages() -> Finding:
    """Every package that llmos requires is installed."""
    try:
        requirements = importlib.metadata.requires("llmos") or []
    except importlib.metadata.PackageNotFoundError:
        return Finding("packages", False, True, "llmos itself is not installed", "make setup, or pip install -e .")
    names = [_name(requirement) for requirement in requirements if "extra ==" not in requirement]
    missing = [name for name in names if _version(name) is None]
    detail = f"missing: {', '.join(missing)}" if missing else f"all {len(names)} are installed"
    return Finding("packages", not missing, True, detail, f"pip install {' '.join(missing)}")


def torch_build() -> Finding:
    """A machine with a GPU has a torch that can use it."""
    version = _version("torch")
    if version is None:
        return Finding("torch", False, True, "not installed", "make setup")
    gpu = _has_nvidia_gpu()
    detail = f"{version}, {'with' if gpu else 'no'} NVIDIA GPU on this machine"
    ok = not (gpu and version.endswith("+cpu"))
    return Finding("torch", ok, False, detail, 'make setup LLMOS_TORCH="--upgrade torch", from where CUDA builds are')


def model(options: Options) -> Finding:
    """At least one model is ready."""
    remedy = "llmosctl model pull smollm2:135m"
    command = [*store_command(options, "list"), "--json"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        return Finding("model", False, True, listed.stderr.strip() or "the model store fails", remedy)
    names = [entry["name"] for entry in json.loads(listed.stdout)["models"]]
    return Finding("model", bool(names), True, ", ".join(names) or "none is ready", remedy)


def home(options: Options) -> Finding:
    """The home directory can be written, or made."""
    place = _existing(options.home)
    ok = place.is_dir() and os.access(place, os.W_OK | os.X_OK)
    detail = f"{options.home}{'' if place == options.home else ' (will be made)'}"
    return Finding("home", ok, True, detail, "name another with --home or LLMOS_HOME")


def socket_path(options: Options) -> Finding:
    """The path of the daemon's socket is short enough for the operating system."""
    try:
        endpoint = socket_endpoint(options.home)
    except Error as error:
        return Finding("socket", False, True, error.message, error.hint)
    return Finding("socket", True, True, endpoint)


def keys(options: Options) -> Finding:
    """Key files are there and nobody else's to read."""
    folder = options.home / "keys"
    found = sorted(folder.glob("*.key"))
    if not found:
        return Finding("keys", False, False, f"none in {folder}", "the first llmosctl up makes them")
    open_ones = [path.name for path in found if path.stat().st_mode & 0o077]
    detail = f"others can read {', '.join(open_ones)}" if open_ones else ", ".join(path.name for path in found)
    return Finding("keys", not open_ones, True, detail, f"chmod 600 {folder}/*.key")


def memory() -> Finding:
    """Memory for a model and a host pool."""
    free = psutil.virtual_memory().available
    detail = f"{free >> 20} MiB available, {HOST_POOL >> 20} MiB wanted"
    return Finding("memory", free >= HOST_POOL, True, detail, "end other programs, or --set engine.host_memory=...")


def shared_memory() -> Finding:
    """Memory that daemon and engine can share."""
    try:
        os.close(os.memfd_create("llmos-doctor"))
    except OSError as error:
        return Finding("shared memory", False, True, f"no memory files: {error.strerror}", "a kernel with memfd_create")
    return Finding("shared memory", True, True, "memory files work")


def disk(options: Options) -> Finding:
    """Room for models and logs."""
    free = shutil.disk_usage(_existing(options.home)).free
    detail = f"{free >> 20} MiB free for {options.home}, {DISK >> 20} MiB wanted"
    return Finding("disk", free >= DISK, True, detail, "free some, or name another home with --home")


def daemon(options: Options) -> Finding:
    """A daemon answers."""
    try:
        with connected(options) as system:
            info = system.info()
    except (Failed, Error) as error:
        return Finding("daemon", False, False, str(error), error.hint)
    return Finding("daemon", True, False, f"{info.version}, process {info.os_pid}, you are {info.principal}")


def nvml() -> Finding:
    """NVIDIA's management library, for figures about GPUs."""
    if not _has_nvidia_gpu():
        return Finding("NVML", False, False, "no NVIDIA GPU on this machine")
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError as error:
        return Finding("NVML", False, False, str(error), "install the NVIDIA driver's libraries")
    return Finding("NVML", True, False, "the library can be loaded")


def container_engine() -> Finding:
    """A container engine, in which apps run."""
    remedy = "install Docker and let your user reach its socket; only apps in sandboxes need it"
    named = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if not named.startswith("unix://"):
        return Finding("container engine", True, False, f"{named}, not asked")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2)
        try:
            connection.connect(named.removeprefix("unix://"))
        except OSError as error:
            return Finding("container engine", False, False, f"{named}: {error.strerror or error}", remedy)
    return Finding("container engine", True, False, named)


def _name(requirement: str) -> str:
    match = _REQUIREMENT.match(requirement)
    return match.group() if match else requirement


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _has_nvidia_gpu() -> bool:
    return any(Path("/dev").glob("nvidia[0-9]*"))


def _existing(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.exists())
