"""Who calls: a name and a role, known from the key of the connection and from nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from llmos.syscalls.abi.errors import InvalidArgument

KERNEL = "kernel"
"""Owner of what belongs to nobody else (init); no key can have this name."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


class Rank(StrEnum):
    """The role of a principal. (`Role` is who speaks in a chat message.)"""

    ADMIN = "admin"
    USER = "user"


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody with a key."""

    name: str
    rank: Rank


def check_name(name: str) -> str:
    """The name, if a principal can have it; it becomes a part of object names, so it has no slash and no wildcard."""
    if not _NAME.fullmatch(name):
        raise InvalidArgument(
            f"{name!r} is no name for a principal", "letters, digits and . _ @ - ; 64 at most, the first no sign"
        )
    if name == KERNEL:
        raise InvalidArgument(f"the name {KERNEL!r} is the kernel's own", "choose another")
    return name
