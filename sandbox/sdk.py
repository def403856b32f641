"""The files of the SDK as an image has them: the system calls and the packages that they import; no torch, no kernel.

They are those of this installation, so that an app speaks exactly this daemon's protocol; compiled, because a container
cannot keep what its interpreter compiles. Hence the base of an image has the same Python as the daemon.
"""

from __future__ import annotations

import importlib.util
import marshal
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
PACKAGES: Final = ("msgspec", "pyzmq")
"""Distributions that the SDK imports."""

_HASHED: Final = 1
_PARTS: Final = ("__init__.py", "py.typed", "syscalls")
_LEFT: Final = ("__pycache__", "tests", "include")


@cache
def sdk_files() -> dict[str, bytes]:
    """Contents by path below a folder for packages."""
    root = Path(__file__).parent.parent
    found = {f"llmos/{path}": data for part in _PARTS for path, data in _below(root, root / part)}
    for package in PACKAGES:
        found.update(_of_package(package))
    return found | compiled(found)


def compiled(files: dict[str, bytes]) -> dict[str, bytes]:
    """What this Python makes of those that are modules, by the paths where it looks for that. Broken ones have none."""
    return {
        importlib.util.cache_from_source(path): code
        for path, source in files.items()
        if path.endswith(".py") and (code := _compiled(path, source)) is not None
    }


def _compiled(path: str, source: bytes) -> bytes | None:
    """A .pyc as PEP 552 has it: bound to its source by a hash that is not checked."""
    try:
        code = compile(source, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return None
    flags = _HASHED.to_bytes(4, "little")
    return importlib.util.MAGIC_NUMBER + flags + importlib.util.source_hash(source) + marshal.dumps(code)


def _below(root: Path, place: Path) -> Iterator[tuple[str, bytes]]:
    paths = sorted(place.rglob("*")) if place.is_dir() else [place]
    for path in paths:
        parts = path.relative_to(root).parts
        if path.is_file() and not set(parts) & set(_LEFT):
            yield "/".join(parts), path.read_bytes()


def _of_package(name: str) -> Iterator[tuple[str, bytes]]:
    for file in distribution(name).files or ():
        if not set(file.parts) & {*_LEFT, ".."}:
            yield file.as_posix(), Path(str(file.locate())).read_bytes()
