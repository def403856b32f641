"""An app's folder as the archive in which it travels.

Rules: hidden files, caches and the folder `tests` stay at home; links are not followed, and one in the folder is an
error; the same folder gives the same bytes.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from llmos.syscalls.abi.apps import MAX_ARCHIVE
from llmos.syscalls.abi.errors import InvalidArgument, MessageTooLong, NotFound

MANIFEST: Final = "app.toml"
_LEFT: Final = ("__pycache__", "tests")


@dataclass(frozen=True, slots=True)
class PackedApp:
    """An app's name, as its manifest has it, and its archive."""

    name: str
    archive: bytes


def pack(folder: Path) -> PackedApp:
    """Pack a folder. Raises `NotFound`, `InvalidArgument`, `MessageTooLong`."""
    name = _name(folder)
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as pressed,
        tarfile.open(fileobj=pressed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in _files(folder):
            entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
            data = path.read_bytes()
            entry.size, entry.mode = len(data), 0o644
            tar.addfile(entry, io.BytesIO(data))
    archive = packed.getvalue()
    if len(archive) > MAX_ARCHIVE:
        raise MessageTooLong(
            f"the app in {folder} has {len(archive)} bytes, packed; the limit is {MAX_ARCHIVE}",
            "what it works on belongs into its files: llmosctl fs put",
        )
    return PackedApp(name, archive)


def _name(folder: Path) -> str:
    path = folder / MANIFEST
    try:
        manifest = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"there is no app in {folder}: it has no {MANIFEST}", "llmosctl app new DIR makes one") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidArgument(f"{path} cannot be read: {error}", "docs/apps.md has all of its fields") from None
    name = manifest.get("name")
    if not isinstance(name, str):
        raise InvalidArgument(f"{path} names no app", 'it needs a line such as name = "my_app"')
    return name


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name in _LEFT:
            continue
        if path.is_symlink():
            raise InvalidArgument(f"{path} is a link", "an app is a folder of regular files")
        if path.is_dir():
            yield from _files(path)
        elif path.is_file():
            yield path
        else:
            raise InvalidArgument(f"{path} is no regular file", "an app is a folder of regular files")
