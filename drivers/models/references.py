"""What a user may write to name a model, and which kind of thing it is.

A reference is a name (`smollm2:135m`, or that of a model pulled from a path) or a path: to a directory in
transformers' format or to a GGUF file. Names never become paths by being joined to one without having
passed `NAME`, which has no separator and no leading dot, so no name leads out of the store.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from llmos.syscalls.abi.errors import InvalidArgument

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}(:[A-Za-z0-9][A-Za-z0-9._-]{0,63})?", re.ASCII)
LONGEST_REFERENCE = 4096
LONGEST_PART = 255


@dataclass(frozen=True, slots=True)
class ByName:
    """A name of the catalogue, or one that a pull gave."""

    name: str


@dataclass(frozen=True, slots=True)
class ByPath:
    """Something in the file system, given with a separator or by the suffix `.gguf`. The path is absolute."""

    path: Path


Reference = ByName | ByPath


def parse_reference(text: str) -> Reference:
    """Tell names from paths. Raises `InvalidArgument` for what can be neither."""
    _refuse_unprintable(text)
    if _looks_like_path(text):
        return ByPath(_absolute(text))
    if NAME.fullmatch(text) is None:
        raise InvalidArgument(
            f"{text[:80]!r} is no model name",
            "a name is letters, digits, '.', '_', '-' and one ':'; write a path with a '/', as in ./my-model",
        )
    return ByName(text)


def name_for(path: Path) -> str:
    """The name under which a pulled path is kept: its last part, without `.gguf`."""
    stem = path.name[: -len(".gguf")] if path.suffix.lower() == ".gguf" else path.name
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem, flags=re.ASCII).lstrip("._-")[:64]
    return name or "model"


def _refuse_unprintable(text: str) -> None:
    if not text or len(text) > LONGEST_REFERENCE:
        raise InvalidArgument(f"a model reference has 1 to {LONGEST_REFERENCE} characters, this one {len(text)}")
    if not text.isprintable():
        raise InvalidArgument(f"a model reference has no control characters: {text[:80]!r}")


def _looks_like_path(text: str) -> bool:
    return "/" in text or os.sep in text or text in (".", "..", "~") or text.lower().endswith(".gguf")


def _absolute(text: str) -> Path:
    if any(len(os.fsencode(part)) > LONGEST_PART for part in text.split("/")):
        raise InvalidArgument(f"a part of the path {text[:80]!r}... is longer than {LONGEST_PART} bytes")
    return Path(os.path.abspath(os.path.expanduser(text)))
