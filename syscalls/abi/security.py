"""Requests and replies of the calls about identity, policy and audit; `table` says which belongs to which."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from llmos.syscalls.abi.words import Count, KeyKind, Record, Seconds

HolderName = Annotated[str, Meta(min_length=1, max_length=64)]
ObjectName = Annotated[str, Meta(min_length=1, max_length=512)]
ActionName = Annotated[str, Meta(min_length=1, max_length=64)]
PublicKeyText = Annotated[str, Meta(min_length=40, max_length=40)]
PolicyText = Annotated[str, Meta(max_length=1 << 21)]
FileName = Annotated[str, Meta(min_length=1, max_length=64)]
Days = Annotated[float, Meta(gt=0, le=36_500)]
CallRate = Annotated[float, Meta(gt=0, le=1e6)]


class WhoAmI(Record, frozen=True):
    """The caller as the kernel knows it. Times in seconds since the epoch.

    `server` is the daemon's public key; while it is being rotated, `next_server` takes over at `switch_at`.
    """

    name: str
    role: str
    tenant: str
    kind: KeyKind
    server: str
    expires: float | None = None
    next_server: str | None = None
    switch_at: float | None = None


class Can(Record, frozen=True):
    """Ask whether the caller may do something; nothing is done, and a no is no denial."""

    object: ObjectName
    action: ActionName


class ConsideredRule(Record, frozen=True):
    """A rule that is about the question; `unmet` is the term of its condition that kept it from deciding."""

    place: str
    rule: str
    unmet: str = ""


class Answer(Record, frozen=True):
    """What the policy says. `rule` and `place` are of the rule that decided, empty when no rule allows it.

    `roles` would allow it; `held` are whose rules hold for the principal there; `considered` are all rules about it.
    """

    allowed: bool
    rule: str = ""
    place: str = ""
    tenant: str = ""
    roles: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    considered: tuple[ConsideredRule, ...] = ()


# --- keys


class CreateKey(Record, frozen=True):
    """Register the public half of a key. `expires` in seconds from now, `rate` in calls a second.

    Without a tenant it is the caller's own, or `default` for a caller of the tenant `system`.
    """

    name: HolderName
    role: HolderName
    public: PublicKeyText
    tenant: HolderName | None = None
    kind: KeyKind = KeyKind.USER
    expires: Seconds | None = None
    rate: CallRate | None = None


class KeyInfo(Record, frozen=True):
    """A key and its holder, without anything secret. Times in seconds since the epoch."""

    name: str
    role: str
    tenant: str
    kind: KeyKind
    public: str
    created: float
    expires: float | None = None
    revoked: float | None = None
    rate: float | None = None


class CreatedKey(Record, frozen=True):
    """The registered key, and what its key file needs beside the pair: the daemon's public keys."""

    key: KeyInfo
    server: str
    next_server: str | None = None


class ListKeys(Record, frozen=True):
    """List keys, of one tenant or of all that the caller may see."""

    tenant: HolderName | None = None


class Keys(Record, frozen=True):
    """Keys in the order of their making. `switch_at`: when the server key that was announced takes over."""

    keys: tuple[KeyInfo, ...]
    switch_at: float | None = None


class RevokeKey(Record, frozen=True):
    """Make a key open nothing any more; its connections are cut."""

    name: HolderName


class RotateServerKey(Record, frozen=True):
    """Announce another server key, which takes over after `overlap` seconds."""

    overlap: Seconds


class ServerKeyRotation(Record, frozen=True):
    """The announced key and when it takes over, in seconds since the epoch."""

    next_server: str
    switch_at: float


# --- policy


class PolicyFile(Record, frozen=True):
    """A file of rules; `shipped` ones come with llmos and cannot be changed here."""

    name: FileName
    text: PolicyText
    shipped: bool = False


class PolicyInForce(Record, frozen=True):
    """The files that hold now, and how often the policy has changed since the daemon started."""

    files: tuple[PolicyFile, ...]
    epoch: int


class CheckPolicy(Record, frozen=True):
    """Ask what the policy says for a principal; `role` and `tenant` stand in for those of its key.

    `attributes` are what the call would ask for, as `class=batch context=4096`.
    """

    principal: HolderName
    action: ActionName
    object: ObjectName
    role: HolderName | None = None
    tenant: HolderName | None = None
    attributes: Annotated[str, Meta(max_length=512)] = ""


class ApplyPolicy(Record, frozen=True):
    """Put a file of rules in force, in place of one of the same name; without text it is taken away.

    With `dry_run` nothing changes. `epoch` is the one that the caller has seen; EBUSY when it is another by now.
    """

    name: FileName
    text: PolicyText | None = None
    dry_run: bool = False
    epoch: Count | None = None


class PolicyChange(Record, frozen=True):
    """What an `apply` changes, as lines of rules and grants, and the epoch after it."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    epoch: int


class DiffPolicy(Record, frozen=True):
    """Ask which of the calls that were recorded in the last `days` would get another answer under these changes.

    A file replaces the one of its name; one without text is taken away.
    """

    files: Annotated[tuple[ApplyPolicy, ...], Meta(max_length=64)]
    days: Days = 7.0


class ChangedAnswer(Record, frozen=True):
    """A call that was recorded `count` times and would get another answer; `place` is of the rule that gives it."""

    principal: str
    role: str
    tenant: str
    action: str
    object: str
    attributes: str
    allowed: bool
    place: str
    count: int


class PolicyDifference(Record, frozen=True):
    """How many different calls were asked about, and those with another answer, the most frequent first."""

    asked: int
    changed: tuple[ChangedAnswer, ...]


class LearnPolicy(Record, frozen=True):
    """Ask for the least policy under which what a principal did in the last `days` is allowed."""

    principal: HolderName
    days: Days = 7.0


class LearntPolicy(Record, frozen=True):
    """Lines of rules for a role, and from how many recorded calls they come."""

    role: str
    text: str
    calls: int


# --- audit


class AuditFormat(StrEnum):
    """How records are written: as they are, or as events of the Open Cybersecurity Schema Framework."""

    JSONL = "jsonl"
    OCSF = "ocsf"


class ReadAudit(Record, frozen=True):
    """Read records of a tenant: those after record `after`, or the newest when that is None.

    Without a tenant it is the caller's own; that of the tenant `system` is all. With `wait` the answer comes when there
    is a record, or empty after so many seconds; the caller's own readings are left out then.
    """

    after: Count | None = None
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 100
    tenant: HolderName | None = None
    kinds: Annotated[tuple[HolderName, ...], Meta(max_length=32)] = ()
    wait: Seconds = 0.0
    format: AuditFormat = AuditFormat.JSONL


class AuditPage(Record, frozen=True):
    """Records as lines of JSON, and the number of the last record that was looked at."""

    lines: tuple[str, ...]
    last: int


class AuditVerdict(Record, frozen=True):
    """Whether the log is whole: the number of records, the newest record's number and hash, and the first fault."""

    ok: bool
    records: int
    head: int
    hash: str
    public: str
    fault: str = ""
    where: str = ""


class WhyDenied(Record, frozen=True):
    """Ask about a denial by the id that its error named."""

    denial: Annotated[str, Meta(min_length=1, max_length=32)]


class Denial(Record, frozen=True):
    """A denial as it was; `at` in seconds since the epoch, `contacts` whom to ask."""

    denial: str
    at: float
    principal: str
    role: str
    tenant: str
    action: str
    object: str
    attributes: str
    reason: str
    roles: tuple[str, ...]
    contacts: tuple[str, ...]
    count: int = 1
