"""The role of an app: the permissions of its manifest as rules of the policy, and what no manifest can ask for.

Rules: a rule holds in the app's own tenant; processes of an app are of the class normal or below unless it asks for
more in so many words; keys, policies, the audit log, other apps and the daemon itself are no app's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Final

from llmos.kernel.gate.apps.manifest import Manifest, Permission
from llmos.kernel.security.policy.conditions import parse_condition
from llmos.kernel.security.policy.decisions import SHIPPED_ROLES
from llmos.kernel.security.policy.document import Rule, Source, parse, read_sources
from llmos.kernel.security.policy.patterns import covers
from llmos.kernel.security.policy.vocabulary import ACTIONS, can_be_about, carried
from llmos.syscalls.abi.apps import AppPermission
from llmos.syscalls.abi.errors import InvalidArgument

USUAL: Final = "class<=normal"
_FORBIDDEN: Final = ("sec.", "sys.", "app.")
_HARMLESS: Final = frozenset({"sys.info"})


def policy_file(app: str) -> str:
    """The name of the file that the rules of an app are in."""
    return f"app-{app}.csv"


def rules(manifest: Manifest, tenant: str) -> str:
    """The file. Raises `InvalidArgument` for a permission that no app can have or that is none."""
    lines = [f"# What {manifest.name} {manifest.version} asks for; made when it was installed."]
    for permission in manifest.permissions:
        _check(permission)
        lines.append(_rule(manifest.role, tenant, permission))
    text = "".join(f"{line}\n" for line in lines)
    parse([Source(policy_file(manifest.name), text)])
    return text


def asked(manifest: Manifest) -> tuple[AppPermission, ...]:
    """The permissions as they are shown to whoever installs the app."""
    return tuple(
        AppPermission(one.object, one.action, _condition(one), one.why, _usual(one)) for one in manifest.permissions
    )


def _rule(role: str, tenant: str, permission: Permission) -> str:
    fields = ("p", f"role:{role}", tenant, permission.object, permission.action, "allow")
    condition = _condition(permission)
    return ", ".join((*fields, condition) if condition else fields)


def _condition(permission: Permission) -> str:
    bounded = any(term.text.startswith("class") for term in parse_condition(permission.condition))
    if bounded or not any("class" in carried(action) for action in _meant(permission)):
        return permission.condition
    return f"{USUAL} {permission.condition}".strip()


def _meant(permission: Permission) -> Iterator[str]:
    """The actions that a permission is about."""
    return (
        action for action in ACTIONS if covers(permission.action, action) and can_be_about(action, permission.object)
    )


def _check(permission: Permission) -> None:
    meant = tuple(_meant(permission))
    shown = f"{permission.action} on {permission.object}"
    if not meant:
        raise InvalidArgument(f"app.toml: nothing is allowed by {shown}", "docs/permissions.md has actions and objects")
    for action in meant:
        if action.startswith(_FORBIDDEN) and action not in _HARMLESS:
            raise InvalidArgument(f"app.toml: {shown} would allow {action}, which no app may", "ask for less")


def _usual(permission: Permission) -> bool:
    return any(
        covers(rule.object, permission.object)
        and covers(rule.action, permission.action)
        and (not rule.terms or [term.text for term in rule.terms] == _condition(permission).split())
        for rule in _usual_rules()
    )


@cache
def _usual_rules() -> tuple[Rule, ...]:
    shipped = parse(read_sources(SHIPPED_ROLES)).rules
    return tuple(rule for rule in shipped if rule.who == "role:app")
