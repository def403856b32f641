"""What the SDK's methods about keys, policies and the audit log mean on the wire.

Pure functions, shared by the blocking and the asynchronous classes, as in `requests`.
"""

from __future__ import annotations

from collections.abc import Mapping

from llmos.syscalls.abi import messages as m
from llmos.syscalls.abi import security as s
from llmos.syscalls.sdk.requests import Invocation, build, itself
from llmos.syscalls.wire.keys import Key, KeyPair, PublicKey

DAY = 86_400.0


def whoami() -> Invocation[s.WhoAmI, s.WhoAmI]:
    """Gives the caller as the kernel knows it."""
    return Invocation("sec.whoami", m.Nothing(), s.WhoAmI, itself)


def can(object: str, action: str) -> Invocation[s.Answer, s.Answer]:
    """Gives `.allowed` and the rule."""
    return Invocation("sec.can", build(s.Can, object=object, action=action), s.Answer, itself)


def why_denied(denial: str) -> Invocation[s.Denial, s.Denial]:
    """Gives a denial again."""
    return Invocation("sec.why_denied", build(s.WhyDenied, denial=denial), s.Denial, itself)


# --- keys


def create_key(
    name: str,
    role: str,
    pair: KeyPair,
    tenant: str | None,
    kind: str,
    expires_days: float | None,
    rate: float | None,
) -> Invocation[s.CreatedKey, Key]:
    """Gives the whole key; its secret half stays here."""
    request = build(
        s.CreateKey,
        name=name,
        role=role,
        public=pair.public,
        tenant=tenant,
        kind=kind,
        expires=expires_days * DAY if expires_days is not None else None,
        rate=rate,
    )

    def key(reply: s.CreatedKey) -> Key:
        following = PublicKey(reply.next_server) if reply.next_server is not None else None
        return Key(reply.key.name, pair, PublicKey(reply.server), following)

    return Invocation("sec.key_create", request, s.CreatedKey, key)


def list_keys(tenant: str | None) -> Invocation[s.Keys, s.Keys]:
    """Gives `.keys`, revoked ones too."""
    return Invocation("sec.key_list", build(s.ListKeys, tenant=tenant), s.Keys, itself)


def revoke_key(name: str) -> Invocation[s.KeyInfo, s.KeyInfo]:
    """Gives the key, revoked."""
    return Invocation("sec.key_revoke", build(s.RevokeKey, name=name), s.KeyInfo, itself)


def rotate_server_key(overlap_days: float) -> Invocation[s.ServerKeyRotation, s.ServerKeyRotation]:
    """Gives the key that follows and when."""
    request = build(s.RotateServerKey, overlap=overlap_days * DAY)
    return Invocation("sec.key_rotate", request, s.ServerKeyRotation, itself)


# --- policy


def show_policy() -> Invocation[s.PolicyInForce, s.PolicyInForce]:
    """Gives `.files` and `.epoch`."""
    return Invocation("sec.policy_show", m.Nothing(), s.PolicyInForce, itself)


def check_policy(
    principal: str, action: str, object: str, role: str | None, tenant: str | None, attributes: str
) -> Invocation[s.Answer, s.Answer]:
    """Gives the answer and everything it comes from."""
    request = build(
        s.CheckPolicy,
        principal=principal,
        action=action,
        object=object,
        role=role,
        tenant=tenant,
        attributes=attributes,
    )
    return Invocation("sec.policy_check", request, s.Answer, itself)


def apply_policy(
    name: str, text: str | None, dry_run: bool, epoch: int | None
) -> Invocation[s.PolicyChange, s.PolicyChange]:
    """Gives the lines that are added and removed."""
    request = build(s.ApplyPolicy, name=name, text=text, dry_run=dry_run, epoch=epoch)
    return Invocation("sec.policy_apply", request, s.PolicyChange, itself)


def diff_policy(files: Mapping[str, str | None], days: float) -> Invocation[s.PolicyDifference, s.PolicyDifference]:
    """Gives the recorded calls whose answer would change."""
    changes = tuple(build(s.ApplyPolicy, name=name, text=text) for name, text in files.items())
    return Invocation("sec.policy_diff", build(s.DiffPolicy, files=changes, days=days), s.PolicyDifference, itself)


def learn_policy(principal: str, days: float) -> Invocation[s.LearntPolicy, s.LearntPolicy]:
    """Gives rules as text."""
    request = build(s.LearnPolicy, principal=principal, days=days)
    return Invocation("sec.policy_learn", request, s.LearntPolicy, itself)


# --- audit


def read_audit(
    after: int | None, limit: int, tenant: str | None, kinds: tuple[str, ...], format: str, wait: float
) -> Invocation[s.AuditPage, s.AuditPage]:
    """Gives `.lines` of JSON and `.last`."""
    request = build(s.ReadAudit, after=after, limit=limit, tenant=tenant, kinds=kinds, wait=wait, format=format)
    return Invocation("sec.audit_read", request, s.AuditPage, itself)


def verify_audit() -> Invocation[s.AuditVerdict, s.AuditVerdict]:
    """Gives `.ok` and the first fault."""
    return Invocation("sec.audit_verify", m.Nothing(), s.AuditVerdict, itself)
