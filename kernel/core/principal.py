"""Who calls: known from the key of the connection and from nothing else.

Rules: a principal never changes; a key that gets another role or tenant is another principal of the same name. Names
become parts of object names, so they hold neither slashes nor wildcards.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from llmos.syscalls.abi.errors import InvalidArgument
from llmos.syscalls.abi.words import KeyKind

KERNEL = "kernel"
"""Owner of what belongs to nobody else (init); no key can have this name."""

SYSTEM = "system"
"""The tenant above the others: whoever belongs to it holds its role in all of them, and over the daemon itself."""

DEFAULT_TENANT = "default"
"""The tenant of keys that name none."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody with a key. `role` is what the key gives it in its own tenant."""

    name: str
    role: str
    tenant: str = DEFAULT_TENANT
    kind: KeyKind = KeyKind.USER

    def role_in(self, tenant: str) -> str:
        """The role that its key gives it in a tenant; empty where it gives none."""
        return self.role if self.tenant in (tenant, SYSTEM) else ""


def check_name(name: str, what: str = "principal") -> str:
    """The name, if a principal, a role or a tenant can have it. Raises `InvalidArgument`."""
    if not _NAME.fullmatch(name):
        raise InvalidArgument(
            f"{name[:80]!r} is no name for a {what}", "letters, digits and . _ @ - ; 64 at most, the first no sign"
        )
    if name == KERNEL:
        raise InvalidArgument(f"the name {KERNEL!r} is the kernel's own", "choose another")
    return name
