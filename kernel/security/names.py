"""Names that callers give to what belongs to somebody: `NAME`, `OWNER/NAME`, `@TENANT/NAME`, and paths of files.

It knows no policy and looks nothing up. Rules: what is wrong with a name is found here, before anybody is asked about
it; a name that passed has one spelling, so that no two names are of the same thing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from llmos.kernel.core.principal import check_name
from llmos.kernel.ports.files import CONTROL, HOMES, LONGEST_COMPONENT
from llmos.kernel.ports.files import FilePath as FilePath
from llmos.syscalls.abi.errors import InvalidArgument

TENANT_SIGN = "@"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


@dataclass(frozen=True, slots=True)
class OwnedName:
    """Something of `owner`, who is a principal, or with `@` before it a tenant."""

    owner: str
    name: str


def owned_name(text: str, caller: str, what: str) -> OwnedName:
    """Read `NAME`, `OWNER/NAME` or `@TENANT/NAME`. Raises `InvalidArgument` that calls it `what`."""
    owner, slash, name = text.rpartition("/")
    if not _NAME.fullmatch(name):
        raise InvalidArgument(
            f"{text[:80]!r} names no {what}", "NAME, OWNER/NAME or @TENANT/NAME, of letters, digits and . _ @ -"
        )
    if not slash:
        return OwnedName(caller, name)
    check_name(owner.removeprefix(TENANT_SIGN), "tenant" if owner.startswith(TENANT_SIGN) else "principal")
    return OwnedName(owner, name)


def file_path(text: str, caller: str) -> FilePath:
    """Read `/home/OWNER/...`, or a path in the caller's own home. Raises `InvalidArgument`."""
    if not text.startswith("/"):
        return FilePath(caller, _parts(text))
    owner, _, rest = text.removeprefix(HOMES).partition("/")
    if not text.startswith(HOMES) or not owner:
        raise InvalidArgument(
            f"{text[:80]!r} is in nobody's home", "/home/OWNER/..., or a path without a slash before it"
        )
    return FilePath(check_name(owner), _parts(rest))


def _parts(text: str) -> tuple[str, ...]:
    if not text:
        return ()
    parts = tuple(text.removesuffix("/").split("/"))
    for part in parts:
        _check_part(part, text)
    return parts


def _check_part(part: str, text: str) -> None:
    if part in ("", ".", ".."):
        raise InvalidArgument(f"{text[:80]!r} has a part that is {part!r}", "write the path without it")
    if found := CONTROL.search(part):
        raise InvalidArgument(f"a path holds the character U+{ord(found[0]):04X}", "leave control characters out")
    if len(part.encode()) > LONGEST_COMPONENT:
        raise InvalidArgument(f"{part[:80]!r}... has more than {LONGEST_COMPONENT} bytes", "shorter names")
