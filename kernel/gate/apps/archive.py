"""The archive in which an app's folder travels: regular files with plain names, and nothing else.

Rules: an archive with a link, a device, a path that leads out of the folder, or more than may be is refused whole;
owners, modes and times in it mean nothing.
"""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

from llmos.syscalls.abi.errors import InvalidArgument, NotFound

MOST_FILES: Final = 2_000
MOST_BYTES: Final = 32 << 20
LONGEST_PATH: Final = 240

MANIFEST: Final = "app.toml"
_REMEDY: Final = "an app is a folder of regular files; what it works on belongs into its files"


def unpack(archive: bytes) -> dict[str, bytes]:
    """Contents by path. Raises `InvalidArgument`, and `NotFound` when there is no manifest."""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            files = dict(_files(tar))
    except (tarfile.TarError, EOFError, zlib.error, OSError, UnicodeError, ValueError, OverflowError) as error:
        raise InvalidArgument(f"this is no archive of an app: {error}", "tar, gzipped or not") from None
    if MANIFEST not in files:
        raise NotFound(f"the folder has no {MANIFEST}", "llmosctl app new makes a folder that has one")
    return files


def _files(tar: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    count = size = 0
    while (entry := tar.next()) is not None:
        if entry.isdir():
            continue
        count, size = count + 1, size + entry.size
        path = _path(entry)
        if count > MOST_FILES or size > MOST_BYTES:
            raise InvalidArgument(f"an app has at most {MOST_FILES} files and {MOST_BYTES} bytes", _REMEDY)
        content = tar.extractfile(entry)
        if content is None:
            raise InvalidArgument(f"{path} has no content", _REMEDY)
        yield path, content.read()


def _path(entry: tarfile.TarInfo) -> str:
    path = PurePosixPath(entry.name)
    shown = entry.name[:LONGEST_PATH]
    if not entry.isreg():
        raise InvalidArgument(f"{shown!r} is no regular file", _REMEDY)
    if path.is_absolute() or ".." in path.parts or not path.parts or len(entry.name.encode()) > LONGEST_PATH:
        raise InvalidArgument(f"{shown!r} is no path in the folder of an app", _REMEDY)
    if not entry.name.isprintable():
        raise InvalidArgument(f"{shown!r} has characters that cannot be shown", _REMEDY)
    return str(path)
