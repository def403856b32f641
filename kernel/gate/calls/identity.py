"""The calls about who one is, what one may, and keys.

Rules: the daemon is told public halves of keys only; a change is on the disk and in the audit log before it is
answered; a key that is revoked has no connection any more when the answer leaves.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from llmos.kernel.core.authority import Authorized
from llmos.kernel.core.principal import Principal
from llmos.kernel.gate.calls.handler import Handler, row
from llmos.kernel.gate.channel import Channel
from llmos.kernel.gate.recorder import Recorder
from llmos.kernel.security.audit.record import Kind
from llmos.kernel.security.identity.keyring import Keyring
from llmos.kernel.security.identity.registry import Identity
from llmos.kernel.security.membrane import Membrane
from llmos.kernel.security.objects import Target, key_tenant, named_target
from llmos.syscalls.abi import messages as m
from llmos.syscalls.abi import security as s
from llmos.syscalls.abi.errors import InvalidArgument
from llmos.syscalls.abi.words import Record

MOST_KEYS = 1 << 16
"""Keys that may ever be registered; the registry is read and written whole."""


class IdentityCalls:
    """One method per call. `cut` ends the connections of a public key; `rotated` is told of an announced server key."""

    def __init__(
        self,
        keyring: Keyring,
        membrane: Membrane,
        recorder: Recorder,
        cut: Callable[[str], None],
        rotated: Callable[[], None],
    ) -> None:
        self._keyring = keyring
        self._membrane = membrane
        self._recorder = recorder
        self._cut = cut
        self._rotated = rotated

    def handlers(self) -> dict[str, Handler]:
        """By the names of the calls."""
        return dict(
            (
                row("sec.whoami", m.Nothing, self.whoami),
                row("sec.can", s.Can, self.can),
                row("sec.key_create", s.CreateKey, self.create),
                row("sec.key_list", s.ListKeys, self.list),
                row("sec.key_revoke", s.RevokeKey, self.revoke),
                row("sec.key_rotate", s.RotateServerKey, self.rotate),
            )
        )

    def whoami(self, by: Authorized, request: m.Nothing, channel: Channel) -> None:
        who, server = by.principal, self._keyring.server
        identity = self._keyring.named(who.name)
        rotation = server.rotation
        channel.reply(
            s.WhoAmI(
                name=who.name,
                role=who.role,
                tenant=who.tenant,
                kind=who.kind,
                server=server.pair.public,
                expires=identity.expires if identity is not None else None,
                next_server=rotation.pair.public if rotation is not None else None,
                switch_at=rotation.switch_at if rotation is not None else None,
            )
        )

    def can(self, by: Authorized, request: s.Can, channel: Channel) -> None:
        target = named_target(request.object, by.principal, self._keyring)
        decision = self._membrane.ask(by.principal, target, request.action)
        rule = decision.rule
        channel.reply(s.Answer(decision.allowed, str(rule or ""), str(rule.place) if rule is not None else ""))

    def create(self, by: Authorized, request: s.CreateKey, channel: Channel) -> None:
        if request.role not in self._membrane.policy.document.roles():
            raise InvalidArgument(f"no rule speaks of a role {request.role!r}", "docs/policies.md has the shipped ones")
        if len(self._keyring.identities()) >= MOST_KEYS:
            raise InvalidArgument(f"{MOST_KEYS} keys were made here, the most there may be")
        holder = Principal(request.name, request.role, key_tenant(request, by.principal), request.kind)
        expires = time.time() + request.expires if request.expires is not None else None
        identity = self._keyring.enrol(holder, request.public, expires, request.rate)
        rotation = self._keyring.server.rotation
        following = rotation.pair.public if rotation is not None else None
        reply = s.CreatedKey(key_info(identity), self._keyring.server.pair.public, following)
        self._answer(by, f"{request.kind} {request.name}, role {request.role}", reply, channel)

    def list(self, by: Authorized, request: s.ListKeys, channel: Channel) -> None:
        found = [
            key_info(identity)
            for identity in self._keyring.identities()
            if request.tenant in (None, identity.principal.tenant)
            and self._membrane.permits(by.principal, _target(identity), by.action)
        ]
        rotation = self._keyring.server.rotation
        channel.reply(s.Keys(tuple(found), rotation.switch_at if rotation is not None else None))

    def revoke(self, by: Authorized, request: s.RevokeKey, channel: Channel) -> None:
        if request.name == by.principal.name:
            raise InvalidArgument("one does not revoke the key that one calls with", "another administrator can")
        identity = self._keyring.revoke(request.name)
        self._cut(identity.public)
        self._answer(by, f"revoked {request.name}", key_info(identity), channel)

    def rotate(self, by: Authorized, request: s.RotateServerKey, channel: Channel) -> None:
        rotation = self._keyring.server.rotate(time.time() + request.overlap)
        self._rotated()
        reply = s.ServerKeyRotation(rotation.pair.public, rotation.switch_at)
        self._answer(by, f"the next server key is {rotation.pair.public}", reply, channel)

    def _answer(self, by: Authorized, detail: str, reply: Record, channel: Channel) -> None:
        self._recorder.commit(Kind.KEY, by, detail, reply, channel)


def key_info(identity: Identity) -> s.KeyInfo:
    """A key as it is shown."""
    who = identity.principal
    return s.KeyInfo(
        name=who.name,
        role=who.role,
        tenant=who.tenant,
        kind=who.kind,
        public=identity.public,
        created=identity.created,
        expires=identity.expires,
        revoked=identity.revoked,
        rate=identity.rate,
    )


def _target(identity: Identity) -> Target:
    who = identity.principal
    return Target(f"key:/{who.tenant}/{who.name}", who.tenant)
