"""One lock for each model, held across OS processes; the operating system frees it when its holder dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from llmos.drivers.models.progress import Reporter
from llmos.syscalls.abi.errors import Busy


@contextmanager
def try_lock(root: Path, key: str) -> Iterator[None]:
    """Hold a model against pulls and removals of others. Raises `Busy` when somebody has it."""
    lock = _lock(root, key)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise Busy(f"another process pulls or removes the model {key[:12]}", "try again when it is done") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def wait_lock(root: Path, key: str, reporter: Reporter) -> Iterator[None]:
    """Hold a model, waiting for as long as another process has it, and saying so."""
    lock = _lock(root, key)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        with reporter.task("waiting for another pull of the same model", None):
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _lock(root: Path, key: str) -> filelock.BaseFileLock:
    folder = root / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return filelock.FileLock(folder / f"{key[:32]}.lock")
