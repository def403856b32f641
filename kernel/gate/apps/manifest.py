"""`app.toml`: what an app is, what it asks for and what its container may use.

Rules: an unknown key or a bad value is an error that names it; what is not asked for is not given.
"""

from __future__ import annotations

import re
import sys
import tomllib
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from llmos.kernel.ports.sandbox import Confinement
from llmos.syscalls.abi.apps import Restart
from llmos.syscalls.abi.errors import InvalidArgument

TAKEN: Final = sys.stdlib_module_names | {"llmos", "msgspec", "zmq"}
"""Names of modules that a package of an app would hide."""

_UNITS: Final = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SIZE: Final = re.compile(r"([1-9][0-9]{0,8})(KiB|MiB|GiB)")
_WHEEL: Final = r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}(\[[a-z0-9,_-]{1,64}\])?==[A-Za-z0-9.!+_-]{1,64}\Z"

_PORT: Final = r"(6553[0-5]|655[0-2]\d|65[0-4]\d\d|6[0-4]\d{3}|[1-5]\d{4}|[1-9]\d{0,3})"
_HOST: Final = rf"\A[a-z0-9]([a-z0-9.-]{{0,251}}[a-z0-9])?:{_PORT}\Z"

_LIBRARY: Final = r"\Alib[A-Za-z0-9+_.-]{1,60}\.so[0-9.]{0,16}\Z"

LEAST_MEMORY, MOST_MEMORY = 32 << 20, 1 << 40
LEAST_SCRATCH, MOST_SCRATCH = 1 << 20, 64 << 30

Size = Annotated[str, Meta(pattern=rf"\A{_SIZE.pattern}\Z")]
Name = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9_]{0,30}\Z")]
Line = Annotated[str, Meta(max_length=512, pattern=r"\A[^\x00-\x1f\x7f]*\Z")]
RuleField = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"\A[^\x00-\x1f\x7f,#\"]+\Z")]


class _Section(Struct, frozen=True, forbid_unknown_fields=True):
    """Of a manifest."""


class Permission(_Section, frozen=True):
    """One thing that the app asks to be allowed: what a rule of the policy has, and why."""

    object: RuleField
    action: RuleField
    condition: Annotated[str, Meta(max_length=256, pattern=r"\A[^\x00-\x1f\x7f,#\"]*\Z")] = ""
    why: Line = ""


class Limits(_Section, frozen=True):
    """`[limits]`: memory and scratch folder in bytes, processors, OS processes and threads."""

    memory: Size = "256MiB"
    cpus: Annotated[float, Meta(ge=0.05, le=256)] = 1.0
    processes: Annotated[int, Meta(ge=4, le=32_768)] = 64
    scratch: Size = "64MiB"


class ImageSection(_Section, frozen=True):
    """`[image]`: wheels, each with its version, as pip names them; libraries that what it is built on must have."""

    libraries: Annotated[tuple[Annotated[str, Meta(pattern=_LIBRARY)], ...], Meta(max_length=32)] = ()
    packages: Annotated[tuple[Annotated[str, Meta(pattern=_WHEEL)], ...], Meta(max_length=64)] = ()


class NetworkSection(_Section, frozen=True):
    """`[network]`: hosts that it may reach, through a proxy, each with its port; no others."""

    hosts: Annotated[tuple[Annotated[str, Meta(pattern=_HOST)], ...], Meta(max_length=32)] = ()


class HealthSection(_Section, frozen=True):
    """`[health]`: seconds without a call after which a run counts as silent; 0 for never."""

    silence: Annotated[float, Meta(ge=0, le=86_400)] = 0.0


class Manifest(_Section, frozen=True):
    """The whole file."""

    name: Name
    version: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._+-]{0,31}\Z")]
    about: Line = ""
    restart: Restart = Restart.NO
    permissions: Annotated[tuple[Permission, ...], Meta(max_length=128)] = ()
    limits: Limits = Limits()
    image: ImageSection = ImageSection()
    network: NetworkSection = NetworkSection()
    health: HealthSection = HealthSection()

    @property
    def role(self) -> str:
        """The role that is made of it."""
        return f"app-{self.name.replace('_', '-')}"

    @property
    def confinement(self) -> Confinement:
        """What its container may use."""
        limits = self.limits
        return Confinement(_bytes(limits.memory), limits.cpus, limits.processes, _bytes(limits.scratch))


def parse_manifest(content: bytes) -> Manifest:
    """Read the file. Raises `InvalidArgument`."""
    try:
        manifest = msgspec.convert(tomllib.loads(content.decode()), Manifest)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError, RecursionError) as error:
        raise InvalidArgument(f"app.toml: {error}", "docs/apps.md has all of its fields") from None
    if manifest.name in TAKEN:
        raise InvalidArgument(
            f"app.toml: {manifest.name} is the name of a module that programs import", "choose another name"
        )
    bounds = manifest.confinement
    _check("limits.memory", bounds.memory, LEAST_MEMORY, MOST_MEMORY)
    _check("limits.scratch", bounds.scratch, LEAST_SCRATCH, MOST_SCRATCH)
    return manifest


def _check(what: str, size: int, least: int, most: int) -> None:
    if not least <= size <= most:
        raise InvalidArgument(f"app.toml: {what} is {size} bytes", f"from {least >> 20} MiB to {most >> 30} GiB")


def _bytes(size: str) -> int:
    found = _SIZE.fullmatch(size)
    if found is None:
        raise AssertionError(f"{size!r} was let through")
    return int(found[1]) * _UNITS[found[2]]
