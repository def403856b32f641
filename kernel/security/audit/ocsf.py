"""Records as events of the Open Cybersecurity Schema Framework (schema.ocsf.io, version 1.3).

| record | class | activity |
| --- | --- | --- |
| call, denial | API Activity (6003) | 1 create, 2 read, 3 update, 4 delete, by the call |
| summary, preemption | API Activity (6003) | the same, 99 other where there is no call |
| refusal, strike | Authentication (3002) | 1 logon |
| key | Account Change (3001) | 1 create, 6 delete for a revocation, 99 other |
| policy | Entity Management (3004) | 3 update |
| daemon, segment | Application Lifecycle (6002) | 99 other |

What OCSF has no place for stands under `unmapped`. It does not know files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

import msgspec

from llmos.kernel.security.audit.record import AuditRecord, Kind

VERSION = "1.3.0"

_CREATE, _READ, _UPDATE, _DELETE, _OTHER = 1, 2, 3, 4, 99
_READS = frozenset({"info", "list", "why", "wait", "read", "whoami", "can", "why_denied", "metrics", "audit_read"})
_READS |= frozenset({"key_list", "policy_show", "policy_check", "policy_diff", "policy_learn", "audit_verify"})
_CREATES = frozenset({"spawn", "fork", "generate", "key_create"})
_DELETES = frozenset({"key_revoke", "shutdown", "truncate", "rewind"})


@dataclass(frozen=True, slots=True)
class _Class:
    """An event class and what happened in it."""

    category: int
    uid: int
    activity: int


def to_ocsf(record: AuditRecord) -> bytes:
    """One event as JSON."""
    kind = _class_of(record)
    failed = record.outcome != "ok"
    event = {
        "activity_id": kind.activity,
        "category_uid": kind.category,
        "class_uid": kind.uid,
        "type_uid": kind.uid * 100 + kind.activity,
        "severity_id": 3 if record.kind in (Kind.DENIAL, Kind.REFUSAL, Kind.STRIKE) else 1,
        "status_id": 2 if failed else 1,
        "status_detail": record.outcome,
        "time": int(record.at * 1000),
        "count": record.count,
        "message": record.detail or f"{record.action} {record.object}".strip(),
        "metadata": {
            "version": VERSION,
            "product": {"name": "llmos", "vendor_name": "llmos"},
            "uid": str(record.n),
        },
        "unmapped": {name: value for name, value in _unmapped(record).items() if value},
        **_details(record, kind),
    }
    if kind.activity == _OTHER:
        event["activity_name"] = record.action or record.kind.value
    if record.until is not None:
        event["end_time"] = int(record.until * 1000)
    return msgspec.json.encode(event)


def _class_of(record: AuditRecord) -> _Class:
    match record.kind:
        case Kind.CALL | Kind.DENIAL | Kind.SUMMARY | Kind.PREEMPTION:
            return _Class(6, 6003, _activity(record.action))
        case Kind.REFUSAL | Kind.STRIKE:
            return _Class(3, 3002, 1)
        case Kind.KEY:
            return _Class(3, 3001, {"sec.key_create": 1, "sec.key_revoke": 6}.get(record.action, _OTHER))
        case Kind.POLICY:
            return _Class(3, 3004, _UPDATE)
        case Kind.DAEMON | Kind.SEGMENT:
            return _Class(6, 6002, _OTHER)
        case _:
            assert_never(record.kind)


def _activity(action: str) -> int:
    if not action:
        return _OTHER
    name = action.partition(".")[2]
    if name in _READS:
        return _READ
    if name in _CREATES:
        return _CREATE
    return _DELETE if name in _DELETES else _UPDATE


def _details(record: AuditRecord, kind: _Class) -> dict[str, object]:
    """The attributes that a class requires beside those of every event."""
    user = _user(record)
    match kind.uid:
        case 6003:
            return {
                "actor": {"user": user},
                "api": {"operation": record.action or record.kind.value, "service": {"name": "llmos"}},
                "resources": _resources(record),
                "src_endpoint": {"name": "llmos client"},
            }
        case 3002:
            return {
                "user": user,
                "dst_endpoint": {"name": "llmosd"},
                "src_endpoint": {"name": record.object or "unknown"},
            }
        case 3001:
            return {"actor": {"user": user}, "user": {"name": record.object.rpartition("/")[2] or "server"}}
        case 3004:
            return {"actor": {"user": user}, "entity": {"name": record.object or "policy:/", "type": "Policy"}}
        case _:
            return {"app": {"name": "llmosd", "vendor_name": "llmos"}}


def _user(record: AuditRecord) -> dict[str, object]:
    """Whose call it was; a group without a name is none."""
    groups = [{"name": record.role}] if record.role else []
    return {"name": record.principal or "unknown", "groups": groups, "domain": record.tenant}


def _resources(record: AuditRecord) -> list[dict[str, object]]:
    if not record.object:
        return []
    return [{"name": record.object, "owner": {"name": record.owner or record.principal or "unknown"}}]


def _unmapped(record: AuditRecord) -> dict[str, str]:
    return {
        "kind": record.kind.value,
        "attributes": record.attributes,
        "digest": record.digest,
        "denial": record.denial,
        "object_tenant": record.object_tenant,
    }
