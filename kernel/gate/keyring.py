"""The keys that the daemon knows: its own pair, and whose public key belongs to whom.

It does not know sockets, nor what a principal may do. Files in the home's `keys` folder, all but
`server.pub` mode 0600: `server.key` and `server.pub` (Z85), `principals.toml` (name, role and public key of
everybody), `admin.key` (the client key file of the first administrator).

Rules: a file is replaced whole or not at all; secrets of clients are written to their key files and kept
nowhere else. The registry is read again when a key is unknown and the file has changed, so that a new key
works at once; a registry that has become unreadable leaves the old one in force.
"""

from __future__ import annotations

import logging
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

import msgspec
import zmq

from llmos.kernel.gate.principal import Principal, Rank, check_name
from llmos.syscalls.abi.errors import AlreadyExists, InvalidArgument
from llmos.syscalls.abi.words import Record
from llmos.syscalls.wire.keys import Key, KeyPair, PublicKey, SecretKey, new_keypair, save_key

ADMIN = "admin"

_log = logging.getLogger("llmos.gate")


class _Entry(Record, frozen=True):
    name: str
    role: Rank
    public: str


class _Registry(Record, frozen=True):
    principal: tuple[_Entry, ...] = ()


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What changes when a file is replaced."""

    modified: int
    size: int
    inode: int


class Keyring:
    """The daemon's key pair and the registry of principals."""

    def __init__(self, folder: Path, pair: KeyPair) -> None:
        self._folder = folder
        self._registry = folder / "principals.toml"
        self._stamp = _stamp(self._registry)
        self._by_key = _read_registry(self._registry)
        self.pair = pair

    @classmethod
    def open(cls, folder: Path) -> Keyring:
        """Open the keyring in `folder`; the first time, make the daemon's keys and the administrator's.

        Raises `InvalidArgument` when a file there is damaged.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        keyring = cls(folder, _server_pair(folder))
        if not (folder / f"{ADMIN}.key").exists():
            keyring._enrol_admin()
        return keyring

    def find(self, public: str) -> Principal | None:
        """Whose key this is; None when it is nobody's."""
        principal = self._by_key.get(public)
        if principal is None and self._reload():
            principal = self._by_key.get(public)
        return principal

    def known(self, public: str) -> Principal | None:
        """Whose key this is, as far as read; never touches a file."""
        return self._by_key.get(public)

    def create(self, name: str, rank: Rank, path: Path | None = None) -> Path:
        """Make a key for a new principal and write its key file, `keys/NAME.key` unless `path` is given.

        Raises `AlreadyExists` when the name or the file is taken, `InvalidArgument` for a bad name.
        """
        self._reload()
        check_name(name)
        if any(principal.name == name for principal in self._by_key.values()):
            raise AlreadyExists(f"a principal is named {name!r} already", "choose another name")
        return self._enrol(Principal(name, rank), path or self._folder / f"{name}.key")

    def _enrol_admin(self) -> None:
        """Make the administrator's key; a lost one is replaced, and its old key stops working."""
        self._by_key = {key: who for key, who in self._by_key.items() if who.name != ADMIN}
        self._enrol(Principal(ADMIN, Rank.ADMIN), self._folder / f"{ADMIN}.key")

    def _enrol(self, principal: Principal, path: Path) -> Path:
        # First the key file: a registered key that nobody has would block its name.
        pair = new_keypair()
        save_key(path, Key(principal.name, pair, self.pair.public))
        registered = {**self._by_key, pair.public: principal}
        _replace(self._registry, _registry_text(registered), 0o600)
        self._by_key, self._stamp = registered, _stamp(self._registry)
        return path

    def _reload(self) -> bool:
        """Read the registry again if it has changed; says whether it did."""
        stamp = _stamp(self._registry)
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            self._by_key = _read_registry(self._registry)
        except InvalidArgument as error:
            _log.error("the old keys stay in force: %s", error)
            return False
        return True


def _server_pair(folder: Path) -> KeyPair:
    path = folder / "server.key"
    if not path.exists():
        pair = new_keypair()
        _replace(path, f"{pair.secret}\n", 0o600)
    secret = path.read_text(encoding="ascii", errors="replace").strip()
    try:
        public = zmq.curve_public(secret.encode()).decode()
    except (zmq.ZMQError, ValueError):
        raise InvalidArgument(
            f"{path} is damaged", "take it from a backup; without it all clients need new key files"
        ) from None
    _publish(folder / "server.pub", public)
    return KeyPair(PublicKey(public), SecretKey(secret))


def _publish(path: Path, public: str) -> None:
    text = f"{public}\n"
    if not path.exists() or path.read_text(encoding="ascii", errors="replace") != text:
        _replace(path, text, 0o644)


def _read_registry(path: Path) -> dict[str, Principal]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{path} cannot be read: {error}") from None
    try:
        registry = msgspec.convert(tomllib.loads(text), _Registry)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise InvalidArgument(f"{path} is damaged: {error}", "take it from a backup") from None
    return {entry.public: Principal(check_name(entry.name), entry.role) for entry in registry.principal}


def _registry_text(by_key: dict[str, Principal]) -> str:
    blocks = (
        f'[[principal]]\nname = "{who.name}"\nrole = "{who.rank}"\npublic = "{key}"\n' for key, who in by_key.items()
    )
    return "\n".join(blocks)


def _replace(path: Path, text: str, mode: int) -> None:
    """Write a file whole: a crash leaves the old one or the new one."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _stamp(path: Path) -> _Stamp | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return _Stamp(status.st_mtime_ns, status.st_size, status.st_ino)
