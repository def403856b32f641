"""Archives of apps for tests, good ones and others."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping

MANIFEST = b"""
name = "demo"
version = "1.0"
[[permissions]]
object = "proc:/$self/*"
action = "proc.*"
why = "to ask"
"""


def packed(files: Mapping[str, bytes], entries: Iterable[tarfile.TarInfo] = (), pressed: bool = True) -> bytes:
    """An archive of these files, and of entries without content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz" if pressed else "w") as tar:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
        for entry in entries:
            tar.addfile(entry)
    return buffer.getvalue()


def entry(path: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    """Something that is no regular file."""
    made = tarfile.TarInfo(path)
    made.type, made.linkname = kind, target
    return made
