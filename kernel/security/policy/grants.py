"""Who has which roles where: the role of the key, the grants of the policy, and the roles that roles have.

It decides nothing; Casbin asks it through the interface of its role managers. Rules: never changes; a question costs as
much as the roles that it finds, however many grants there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from casbin.rbac import RoleManager

from llmos.kernel.security.policy.document import ANY, EVERYWHERE, Grant


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: its name, its tenant, and the role that its key gives it where the object is ('' for none)."""

    name: str
    home: str
    role: str

    @property
    def subject(self) -> str:
        """As rules name it."""
        return f"principal:{self.name}"


class Grants(RoleManager):  # type: ignore[misc] # casbin has no types
    """The grants of one document."""

    def __init__(self, grants: Iterable[Grant]) -> None:
        self._given: dict[str, list[Grant]] = {}
        for grant in grants:
            self._given.setdefault(grant.member, []).append(grant)

    def held(self, caller: Caller, tenant: str) -> tuple[str, ...]:
        """Whose rules hold for the caller in a tenant: everybody's, its own, and those of its roles."""
        own = (ANY, caller.subject, *([f"role:{caller.role}"] if caller.role else []))
        return tuple(self._reach(own, tenant))

    def has_link(self, member: str, role: str, *tenant: str) -> bool:
        """Whether a member is the role or has it in the tenant (Casbin's `g`)."""
        return member == role or role in self._reach((member,), *tenant)

    def _reach(self, members: tuple[str, ...], tenant: str) -> dict[str, None]:
        reached, waiting = dict.fromkeys(members), list(members)
        while waiting:
            for grant in self._given.get(waiting.pop(), ()):
                if grant.tenant in (tenant, EVERYWHERE) and grant.role not in reached:
                    reached[grant.role] = None
                    waiting.append(grant.role)
        return reached
