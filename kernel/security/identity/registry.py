"""Whose key is whose: the file `principals.toml`.

It does not know secrets: only public keys are in it. Rules: a name is given once, also after its key was revoked, so
that what the audit log says of a name is about one holder; the file is replaced whole or not at all.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from llmos.kernel.core.principal import DEFAULT_TENANT, Principal, check_name
from llmos.kernel.security.identity.files import replace_file, writing
from llmos.syscalls.abi.errors import InvalidArgument
from llmos.syscalls.abi.words import KeyKind, Record
from llmos.syscalls.wire.keys import is_public_key


@dataclass(frozen=True, slots=True)
class Identity:
    """A key and who holds it. Times in seconds since the epoch; `rate` in calls a second, None for the setting's."""

    principal: Principal
    public: str
    created: float
    expires: float | None = None
    revoked: float | None = None
    rate: float | None = None

    def valid(self, now: float) -> bool:
        """Whether the key opens anything."""
        return self.revoked is None and (self.expires is None or now < self.expires)

    def revoked_at(self, now: float) -> Identity:
        """The same, revoked."""
        return replace(self, revoked=now)


class _Entry(Record, frozen=True):
    name: str
    role: str
    public: str
    tenant: str = DEFAULT_TENANT
    kind: KeyKind = KeyKind.USER
    created: float = 0.0
    expires: float | None = None
    revoked: float | None = None
    rate: float | None = None


class _Registry(Record, frozen=True):
    principal: tuple[_Entry, ...] = ()


def read_registry(path: Path) -> dict[str, Identity]:
    """All identities by public key. Raises `InvalidArgument` when the file is damaged."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{path} cannot be read: {error}") from None
    try:
        registry = msgspec.convert(tomllib.loads(text), _Registry)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise InvalidArgument(f"{path} is damaged: {error}", "take it from a backup") from None
    if bad := [entry.name for entry in registry.principal if not is_public_key(entry.public)]:
        raise InvalidArgument(f"{path} is damaged: {bad[0]} has no public key of Z85", "take it from a backup")
    return {entry.public: _identity(entry) for entry in registry.principal}


def write_registry(path: Path, identities: Iterable[Identity]) -> None:
    """Replace the file; it is on the disk when this returns. Raises `DeviceError`."""
    with writing(path):
        replace_file(path, "\n".join(map(_block, identities)), 0o600)


def _identity(entry: _Entry) -> Identity:
    principal = Principal(
        check_name(entry.name), check_name(entry.role, "role"), check_name(entry.tenant, "tenant"), entry.kind
    )
    return Identity(principal, entry.public, entry.created, entry.expires, entry.revoked, entry.rate)


def _block(identity: Identity) -> str:
    who = identity.principal
    fields: dict[str, object] = {
        "name": who.name,
        "role": who.role,
        "tenant": who.tenant,
        "kind": who.kind.value,
        "public": identity.public,
        "created": identity.created,
        "expires": identity.expires,
        "revoked": identity.revoked,
        "rate": identity.rate,
    }
    # Strings and floats of JSON are TOML too.
    lines = (f"{name} = {json.dumps(value)}\n" for name, value in fields.items() if value is not None)
    return "[[principal]]\n" + "".join(lines)
