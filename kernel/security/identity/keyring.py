"""The keys that the daemon knows: its own, and whose public key belongs to whom.

It does not know sockets, nor what a principal may do. Everything is in the home's `keys` folder, mode 0700. Rules:

- Secrets of clients are made where they are used; the daemon is told their public halves. It makes one itself for the
  first administrator only, and writes it to that key file and nowhere else.
- A key is valid until it is revoked or expires; whoever asks learns only whether it is valid.
- The registry is read again when a key is unknown and the file has changed, so that a key that was added beside the
  daemon works at once; a registry that has become unreadable leaves the old one in force.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from zmq.utils import z85

from llmos.kernel.core.principal import DEFAULT_TENANT, SYSTEM, Principal, check_name
from llmos.kernel.security.identity.files import stamp_of
from llmos.kernel.security.identity.registry import Identity, read_registry, write_registry
from llmos.kernel.security.identity.server_keys import ServerKeys
from llmos.syscalls.abi.errors import AlreadyExists, InvalidArgument, NotFound
from llmos.syscalls.abi.words import KeyKind
from llmos.syscalls.wire.keys import Key, is_public_key, new_keypair, save_key

ADMIN = "admin"

_log = logging.getLogger("llmos.security")


class Keyring:
    """The daemon's keys and the registry of principals. `clock` gives seconds since the epoch."""

    def __init__(self, folder: Path, server: ServerKeys, clock: Callable[[], float] = time.time) -> None:
        self.server = server
        self._clock = clock
        self._folder = folder
        self._registry = folder / "principals.toml"
        self._by_key: dict[str, Identity] = {}
        self._by_bytes: dict[bytes, Identity] = {}
        self._by_name: dict[str, Identity] = {}
        self._take(read_registry(self._registry))

    @classmethod
    def open(cls, folder: Path, clock: Callable[[], float] = time.time) -> Keyring:
        """Open the keyring in `folder`; the first time, make the daemon's keys and the administrator's.

        Raises `InvalidArgument` when a file there is damaged.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        keyring = cls(folder, ServerKeys(folder), clock)
        if not (folder / f"{ADMIN}.key").exists():
            keyring._enrol_admin()
        return keyring

    # --- whose

    def find(self, public: str) -> Identity | None:
        """Whose valid key this is; None when it is nobody's. May read the registry again."""
        if public not in self._by_key:
            self._reload()
        return self.known(public)

    def of_bytes(self, key: bytes) -> Identity | None:
        """Whose key this is or was, valid or not, from its 32 bytes; may read the registry again.

        Strangers come by the thousand: they cost a look at the registry's time stamp.
        """
        if key not in self._by_bytes:
            self._reload()
        return self._by_bytes.get(key)

    def known(self, public: str) -> Identity | None:
        """Whose valid key this is, as far as read; never touches a file."""
        identity = self._by_key.get(public)
        if identity is None or (identity.expires is None and identity.revoked is None):
            return identity
        return identity if identity.valid(self._clock()) else None

    def named(self, name: str) -> Identity | None:
        """The identity of a name, valid or not."""
        return self._by_name.get(name)

    def identities(self) -> tuple[Identity, ...]:
        """All of them, revoked ones too, in the order of their making."""
        return tuple(self._by_key.values())

    def admins(self, tenant: str) -> tuple[str, ...]:
        """Who administers a tenant: the holders of valid keys with the role `admin` there, its own before others'."""
        now = self._clock()
        found = [who.principal for who in self._by_key.values() if who.valid(now) and who.principal.role == ADMIN]
        own = [who.name for who in found if who.tenant == tenant]
        return tuple(own or (who.name for who in found if who.tenant == SYSTEM))

    # --- changes

    def valid(self, identity: Identity) -> bool:
        """Whether a key opens anything now."""
        return identity.valid(self._clock())

    def enrol(
        self, principal: Principal, public: str, expires: float | None = None, rate: float | None = None
    ) -> Identity:
        """Register a key. Raises `AlreadyExists` for a name or a key that was given before, `InvalidArgument`."""
        self._reload()
        check_name(principal.name)
        check_name(principal.role, "role")
        check_name(principal.tenant, "tenant")
        if not is_public_key(public):
            raise InvalidArgument("a public key is 40 characters of Z85")
        if principal.name in self._by_name:
            raise AlreadyExists(f"a principal is named {principal.name!r} already", "choose another name")
        if public in self._by_key:
            raise AlreadyExists("this key belongs to somebody already", "make a new pair")
        identity = Identity(principal, public, self._clock(), expires, None, rate)
        self._store({**self._by_key, public: identity})
        return identity

    def renew(self, principal: Principal, public: str) -> Identity:
        """Register a key for somebody who may have had another, which opens nothing any more.

        For holders that the daemon itself makes the keys of: the name stays that of the same holder. Raises
        `InvalidArgument`.
        """
        self._reload()
        self._store({key: who for key, who in self._by_key.items() if who.principal.name != principal.name})
        return self.enrol(principal, public)

    def revoke(self, name: str) -> Identity:
        """Make a key open nothing any more, now and after every restart. Raises `NotFound`."""
        self._reload()
        identity = self._by_name.get(name)
        if identity is None:
            raise NotFound(f"there is no key named {name!r}", "llmosctl key list")
        if identity.revoked is None:
            identity = identity.revoked_at(self._clock())
            self._store({**self._by_key, identity.public: identity})
        return identity

    def create(
        self,
        name: str,
        role: str,
        path: Path | None = None,
        tenant: str = DEFAULT_TENANT,
        kind: KeyKind = KeyKind.USER,
        expires: float | None = None,
    ) -> Path:
        """Make and register a key where no daemon serves yet, with its key file, `NAME.key` unless `path` is given.

        Raises `AlreadyExists` when the name or the file is taken, `InvalidArgument` for a bad name.
        """
        check_name(name)
        if name in self._by_name:
            raise AlreadyExists(f"a principal is named {name!r} already", "choose another name")
        return self._make(Principal(name, role, tenant, kind), path or self._folder / f"{name}.key", expires)

    # --- inside

    def _enrol_admin(self) -> None:
        """Make the administrator's key; a lost one is replaced, and its old key stops working."""
        self._store({key: who for key, who in self._by_key.items() if who.principal.name != ADMIN})
        self._make(Principal(ADMIN, ADMIN, SYSTEM), self._folder / f"{ADMIN}.key", None)

    def _make(self, principal: Principal, path: Path, expires: float | None) -> Path:
        # First the key file: a registered key that nobody has would block its name.
        pair = new_keypair()
        save_key(path, Key(principal.name, pair, self.server.pair.public))
        self.enrol(principal, pair.public, expires)
        return path

    def _store(self, registered: dict[str, Identity]) -> None:
        write_registry(self._registry, registered.values())
        self._take(registered)

    def _take(self, registered: dict[str, Identity]) -> None:
        self._stamp = stamp_of(self._registry)
        self._by_key = registered
        self._by_bytes = {z85.decode(public): identity for public, identity in registered.items()}
        self._by_name = {identity.principal.name: identity for identity in registered.values()}

    def _reload(self) -> None:
        """Read the registry again if it has changed."""
        if stamp_of(self._registry) == self._stamp:
            return
        try:
            self._take(read_registry(self._registry))
        except InvalidArgument as error:
            self._stamp = stamp_of(self._registry)
            _log.error("the old keys stay in force: %s", error)
