"""Names of the objects of calls, and whose they are; what a call asks for, as far as rules may bound it.

It does not know policies. Rules: a name is made from the table of calls, the caller and the owner that the kernel
knows, never from a field that could hold a wildcard.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Protocol, assert_never

from llmos.kernel.core.principal import DEFAULT_TENANT, SYSTEM, Principal, check_name
from llmos.kernel.security.identity.registry import Identity
from llmos.kernel.security.names import TENANT_SIGN, FilePath, OwnedName, file_path, owned_name
from llmos.kernel.security.policy.conditions import NOTHING, UNLIMITED, Attributes
from llmos.syscalls.abi import encoders as e
from llmos.syscalls.abi import messages as m
from llmos.syscalls.abi import security as s
from llmos.syscalls.abi.errors import InvalidArgument
from llmos.syscalls.abi.memory import DEFAULT_NAMESPACE
from llmos.syscalls.abi.table import Call, Subject
from llmos.syscalls.abi.words import KeyKind, Pid, Record

NO_ENCODER = "none"
"""Stands for the encoder of a daemon that has none."""

SYSTEM_OBJECT = "sys:/"
POLICY_OBJECT = "policy:/"
UNKNOWN_DESCRIPTOR = "?/"
_OF_MAIL = "ipc."
SERVER_KEY_OBJECT = f"key:/{SYSTEM}/server"

_APP = re.compile(r"[a-z][a-z0-9_]{0,30}")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose something is."""

    name: str
    tenant: str


NOBODY: Final = Owner("?", "?")
"""Owner of what does not exist: asked about like any other, so that a stranger's and a missing thing look alike."""


@dataclass(frozen=True, slots=True)
class Target:
    """The object of a call: its name, its tenant, its owner if it is one's, and the process if it is one."""

    object: str
    tenant: str
    pid: Pid | None = None
    owner: Owner | None = None

    @property
    def missing(self) -> bool:
        """Whether there is no such thing."""
        return self.owner is NOBODY


SYSTEM_TARGET: Final = Target(SYSTEM_OBJECT, SYSTEM)


class Owners(Protocol):
    """Who owns what runs."""

    def owner_of(self, pid: Pid) -> Owner | None:
        """Whose a process is; None when there is no such process."""
        ...

    def mailbox_of(self, pid: Pid) -> Owner | None:
        """Whose the mailbox of a process is, also of one that is gone; None when there can be none."""
        ...

    def file_of(self, descriptor: int) -> FilePath | None:
        """Which file is open under a descriptor; None when none is."""
        ...

    @property
    def default_model(self) -> str:
        """The model of a process that names none."""
        ...

    @property
    def default_encoder(self) -> str:
        """The encoder of a call that names none; `NO_ENCODER` when there is none."""
        ...


class Holders(Protocol):
    """Who has a key."""

    def named(self, name: str) -> Identity | None:
        """The identity of a name."""
        ...

    def admins(self, tenant: str) -> tuple[str, ...]:
        """Whom a tenant's people can ask."""
        ...


def process_target(pid: Pid, owner: Owner) -> Target:
    """One process."""
    return Target(f"proc:/{owner.name}/{pid}", owner.tenant, pid, owner)


def owner_of(pid: Pid, action: str, owners: Owners) -> Owner:
    """Whose a process is, for an action: its messages outlive it."""
    found = owners.mailbox_of(pid) if action.startswith(_OF_MAIL) else owners.owner_of(pid)
    return found or NOBODY


def processes_target(owner: Owner) -> Target:
    """All processes of one principal."""
    return Target(f"proc:/{owner.name}/*", owner.tenant)


def share_target(scope: str, principal: Principal) -> Target:
    """Prefixes that a scope's members share."""
    return Target(f"share:/{scope}", principal.tenant)


def file_target(path: FilePath, principal: Principal, holders: Holders) -> Target:
    """A file or directory in somebody's home."""
    return _of_owner(f"fs:{path}", path.owner, principal, holders)


def named_by(kind: str, name: OwnedName, principal: Principal, holders: Holders) -> Target:
    """Something that has an owner: a namespace of memory, a topic, a tool."""
    return _of_owner(f"{kind}:/{name.owner}/{name.name}", name.owner, principal, holders)


def model_target(name: str, principal: Principal) -> Target:
    """A model. It serves every tenant, and each says who of its own may use it."""
    if not _MODEL.fullmatch(name):
        raise InvalidArgument(f"{name[:80]!r} is no model name", "letters, digits and . _ - : ; llmosctl info has them")
    return Target(f"model:/{name}", principal.tenant)


def app_target(name: str, principal: Principal, holders: Holders) -> Target:
    """An installed app; a holder of a key who is none is as missing as nobody."""
    identity = holders.named(check_app_name(name))
    if identity is None or identity.principal.kind is not KeyKind.APP:
        return Target(f"app:/{name}", NOBODY.tenant, owner=NOBODY)
    return _of_owner(f"app:/{name}", name, principal, holders)


def check_app_name(name: str) -> str:
    """The name, if an app can have it. Raises `InvalidArgument`."""
    if not _APP.fullmatch(name):
        raise InvalidArgument(
            f"{name!r} is no name for an app", "small letters, digits and _ ; 31 at most, a letter first"
        )
    return name


def app_tenant(request: Record, principal: Principal) -> str:
    """The tenant that a new app is to belong to."""
    named: str | None = request.tenant  # type: ignore[attr-defined] # asked about what is installed only
    own = DEFAULT_TENANT if principal.tenant == SYSTEM else principal.tenant
    return check_name(named, "tenant") if named is not None else own


def key_tenant(request: s.CreateKey | s.ListKeys, principal: Principal) -> str:
    """The tenant that a call about keys means."""
    own = DEFAULT_TENANT if principal.tenant == SYSTEM else principal.tenant
    return check_name(request.tenant, "tenant") if request.tenant is not None else own


def target_of(principal: Principal, call: Call, request: Record, owners: Owners, holders: Holders) -> Target:
    """The object of a call. Raises `InvalidArgument` for a name that cannot be."""
    match call.subject:
        case Subject.PROCESS:
            pid = Pid(request.pid)  # type: ignore[attr-defined] # the table says so, and a test walks it
            return process_target(pid, owner_of(pid, call.name, owners))
        case Subject.MAILBOX if request.pid is not None:  # type: ignore[attr-defined]
            pid = Pid(request.pid)  # type: ignore[attr-defined]
            return process_target(pid, owner_of(pid, call.name, owners))
        case Subject.OWN | Subject.MAILBOX:
            return processes_target(Owner(principal.name, principal.tenant))
        case Subject.SYSTEM:
            return SYSTEM_TARGET
        case Subject.POLICY:
            return Target(POLICY_OBJECT, SYSTEM)
        case Subject.SERVER_KEY:
            return Target(SERVER_KEY_OBJECT, SYSTEM)
        case Subject.SELF:
            return _key(principal.tenant, principal.name)
        case Subject.KEY | Subject.KEYS:
            return _keys_target(principal, request, holders)
        case Subject.MODEL:
            model = request.model or owners.default_encoder  # type: ignore[attr-defined] # the table says so
            return model_target(model, principal)
        case Subject.AUDIT:
            tenant = SYSTEM if isinstance(request, m.Nothing) else _audit_tenant(request, principal)
            return Target(f"audit:/{tenant}", tenant)
        case Subject.MEMORY:
            namespace = request.namespace or DEFAULT_NAMESPACE  # type: ignore[attr-defined]
            return named_by("mem", owned_name(namespace, principal.name, "namespace"), principal, holders)
        case Subject.TOPIC:
            topic = owned_name(request.topic, principal.name, "topic")  # type: ignore[attr-defined]
            return named_by("topic", topic, principal, holders)
        case Subject.TOOL:
            tool = owned_name(request.name, principal.name, "tool")  # type: ignore[attr-defined]
            return named_by("tool", tool, principal, holders)
        case Subject.TOOLS:
            return Target(f"tool:/{principal.name}/*", principal.tenant)
        case Subject.APP:
            return app_target(request.name, principal, holders)  # type: ignore[attr-defined] # the table says so
        case Subject.NEW_APP:
            name = check_app_name(request.name)  # type: ignore[attr-defined] # the table says so
            return Target(f"app:/{name}", app_tenant(request, principal))
        case Subject.APPS:
            return Target("app:/*", principal.tenant)
        case Subject.FILE:
            return file_target(file_path(request.path, principal.name), principal, holders)  # type: ignore[attr-defined]
        case Subject.DESCRIPTOR:
            return _descriptor_target(request.fd, principal, owners, holders)  # type: ignore[attr-defined]
        case _:
            assert_never(call.subject)


def named_target(object: str, principal: Principal, holders: Holders) -> Target:
    """An object that somebody asks about by its name, and whose it is."""
    kind, _, rest = object.partition(":/")
    first = rest.partition("/")[0]
    match kind:
        case "proc" | "mem" | "topic" | "tool":
            return Target(object, _tenant_of(first, holders))
        case "fs":
            return Target(object, _tenant_of(rest.split("/")[1] if "/" in rest else "", holders))
        case "key" | "audit":
            return Target(object, first)
        case "app":
            return Target(object, principal.tenant if first == "*" else _tenant_of(first, holders))
        case "share" | "model":
            return Target(object, principal.tenant)
        case _:
            return Target(object, SYSTEM)


def attributes_of(request: Record, owners: Owners) -> Attributes:
    """What the call asks for."""
    if type(request) not in _ASKING:
        return NOTHING
    match request:
        case m.Spawn(priority=priority, weight=weight, model=model, limits=limits):
            context = UNLIMITED if limits.context_tokens is None else limits.context_tokens
            return Attributes(priority, context, weight, model or owners.default_model)
        case m.Renice(priority=priority, weight=weight):
            return Attributes(priority, weight=weight)
        case m.SetLimits(limits=limits, clear=clear):
            return Attributes(context=UNLIMITED if "context_tokens" in clear else limits.context_tokens)
        case s.CreateKey(role=role):
            return Attributes(role=role)
        case e.Embed(priority=priority) | e.Classify(priority=priority):
            return Attributes(priority)
        case _:
            return NOTHING


_ASKING = frozenset({m.Spawn, m.Renice, m.SetLimits, s.CreateKey, e.Embed, e.Classify})
"""Requests that ask for something; looked up first, because it is on the path of every call."""


def _of_owner(object: str, owner: str, principal: Principal, holders: Holders) -> Target:
    if owner == principal.name:
        return Target(object, principal.tenant, owner=Owner(owner, principal.tenant))
    tenant = _tenant_of(owner, holders)
    return Target(object, tenant, owner=NOBODY if tenant == NOBODY.tenant else Owner(owner, tenant))


def _tenant_of(owner: str, holders: Holders) -> str:
    """The tenant of a principal, and of a tenant itself."""
    if owner.startswith(TENANT_SIGN):
        return owner.removeprefix(TENANT_SIGN)
    holder = holders.named(owner)
    return NOBODY.tenant if holder is None else holder.principal.tenant


def _descriptor_target(descriptor: int, principal: Principal, owners: Owners, holders: Holders) -> Target:
    path = owners.file_of(descriptor)
    if path is None:
        return Target(f"fs:/{UNKNOWN_DESCRIPTOR}{descriptor}", NOBODY.tenant, owner=NOBODY)
    return file_target(path, principal, holders)


def _keys_target(principal: Principal, request: Record, holders: Holders) -> Target:
    match request:
        case s.CreateKey(name=name):
            return _key(key_tenant(request, principal), check_name(name))
        case s.RevokeKey(name=name):
            holder = holders.named(name)
            owner = NOBODY if holder is None else Owner(name, holder.principal.tenant)
            return Target(f"key:/{owner.tenant}/{check_name(name)}", owner.tenant, owner=owner)
        case s.ListKeys(tenant=None):
            return Target(f"key:/{principal.tenant}/*", principal.tenant)
        case s.ListKeys():
            tenant = key_tenant(request, principal)
            return Target(f"key:/{tenant}/*", tenant)
        case _:
            raise AssertionError(f"{type(request).__name__} is about no key")


def _key(tenant: str, name: str) -> Target:
    return Target(f"key:/{tenant}/{name}", tenant)


def _audit_tenant(request: Record, principal: Principal) -> str:
    if not isinstance(request, s.ReadAudit) or request.tenant is None:
        return principal.tenant
    return check_name(request.tenant, "tenant")
