"""The SDK's namespaces `keys`, `policy` and `audit`, for programs that block.

Rule: the secret half of a key is made here and never leaves this machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from llmos.syscalls.abi import security as s
from llmos.syscalls.sdk import security_requests as requests
from llmos.syscalls.sdk.blocking_call import perform
from llmos.syscalls.sdk.connection import Connection
from llmos.syscalls.sdk.undoing import IfInterrupted
from llmos.syscalls.wire.keys import Key, new_keypair, save_key

PAGE = 1000
"""Audit records that are asked for at once."""


class Keys:
    """Who may connect."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(
        self,
        name: str,
        role: str,
        tenant: str | None = None,
        kind: str = "user",
        expires_days: float | None = None,
        rate: float | None = None,
        path: str | Path | None = None,
    ) -> Key:
        """Make and register a key; with `path` also its key file, mode 0600. `rate` in calls a second.

        Raises `AlreadyExists` when the name or the file is taken: then no key is left behind.
        """
        invocation = requests.create_key(name, role, new_keypair(), tenant, kind, expires_days, rate)
        key = perform(self._connection, invocation)
        if path is not None:
            with IfInterrupted(lambda: self.revoke(name)):
                save_key(Path(path), key)
        return key

    def list(self, tenant: str | None = None) -> Sequence[s.KeyInfo]:
        """The keys that one may see, revoked ones too."""
        return perform(self._connection, requests.list_keys(tenant)).keys

    def revoke(self, name: str) -> s.KeyInfo:
        """Make a key open nothing any more; its connections are cut when this returns."""
        return perform(self._connection, requests.revoke_key(name))

    def rotate(self, overlap_days: float) -> s.ServerKeyRotation:
        """Announce another key of the daemon, which takes over when the overlap is over."""
        return perform(self._connection, requests.rotate_server_key(overlap_days))


class Policy:
    """What everybody may do."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def show(self) -> s.PolicyInForce:
        """The files in force: `.files`, `.epoch`."""
        return perform(self._connection, requests.show_policy())

    def check(
        self,
        principal: str,
        action: str,
        object: str,
        role: str | None = None,
        tenant: str | None = None,
        attributes: str = "",
    ) -> s.Answer:
        """What the policy says and everything it comes from; `role` and `tenant` stand in for the key's."""
        invocation = requests.check_policy(principal, action, object, role, tenant, attributes)
        return perform(self._connection, invocation)

    def apply(self, name: str, text: str | None, dry_run: bool = False, epoch: int | None = None) -> s.PolicyChange:
        """Put a file of rules in force, or take it away; gives the lines that change. Raises `Busy`, see `epoch`."""
        return perform(self._connection, requests.apply_policy(name, text, dry_run, epoch))

    def diff(self, files: Mapping[str, str | None], days: float = 7.0) -> s.PolicyDifference:
        """Which of the calls of the last days would get another answer with these files."""
        return perform(self._connection, requests.diff_policy(files, days))

    def learn(self, principal: str, days: float = 7.0) -> s.LearntPolicy:
        """The least rules under which what a principal did is allowed."""
        return perform(self._connection, requests.learn_policy(principal, days))


class Audit:
    """What was done."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def tail(
        self, limit: int = 100, tenant: str | None = None, kinds: Sequence[str] = (), format: str = "jsonl"
    ) -> s.AuditPage:
        """The newest records as lines of JSON: `.lines`, `.last`."""
        return perform(self._connection, requests.read_audit(None, limit, tenant, tuple(kinds), format, 0.0))

    def read(
        self,
        after: int,
        limit: int = PAGE,
        tenant: str | None = None,
        kinds: Sequence[str] = (),
        format: str = "jsonl",
        wait: float = 0.0,
    ) -> s.AuditPage:
        """Records after a number, oldest first; with `wait` the answer comes when there are some, or after so long."""
        return perform(self._connection, requests.read_audit(after, limit, tenant, tuple(kinds), format, wait))

    def export(self, tenant: str | None = None, kinds: Sequence[str] = (), format: str = "jsonl") -> Iterator[str]:
        """All records, line by line."""
        page = s.AuditPage(("",) * PAGE, 0)
        while len(page.lines) == PAGE:
            page = self.read(page.last, PAGE, tenant, kinds, format)
            yield from page.lines

    def verify(self) -> s.AuditVerdict:
        """Whether the log is whole: `.ok`, `.fault`, `.where`."""
        return perform(self._connection, requests.verify_audit())

    def why_denied(self, denial: str) -> s.Denial:
        """A denial again, by the id that its error named."""
        return perform(self._connection, requests.why_denied(denial))
