"""Key files: who a client is, and which daemon it talks to.

A key file is TOML with four strings: `name`, and three CURVE keys of 40 Z85 characters, `public`, `secret`
and `server` (the daemon's public key); and `next`, the daemon's key that follows, while a rotation is under way. An API
key is the secret half alone, for clients that can hold one word only. It does not know what a key may do: that is the
policy's, by the public key. Rules: the file is readable by its owner alone, and one that is not is refused; a secret is
never in a message or a `repr`.
"""

from __future__ import annotations

import os
import re
import tomllib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_IMODE
from typing import NewType

import msgspec
import zmq
from zmq.utils import z85

from llmos.syscalls.abi.errors import AlreadyExists, InvalidArgument, NotFound, PermissionDenied
from llmos.syscalls.abi.words import Record

PublicKey = NewType("PublicKey", str)
SecretKey = NewType("SecretKey", str)

_Z85 = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A CURVE key pair, Z85."""

    public: PublicKey
    secret: SecretKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class Key:
    """What a client needs to connect: its own pair, and the public key of the daemon."""

    name: str
    pair: KeyPair
    server: PublicKey
    next_server: PublicKey | None = None
    """What `server` becomes when the rotation under way is over."""

    def text(self) -> str:
        """The content of its key file, the secret included."""
        fields = {"name": self.name, "public": self.pair.public, "secret": self.pair.secret, "server": self.server}
        fields |= {"next": self.next_server} if self.next_server is not None else {}
        return "".join(f'{name} = "{value}"\n' for name, value in fields.items())


class _KeyFile(Record, frozen=True):
    name: str
    public: str
    secret: str
    server: str
    next: str | None = None


API_KEY = "llmos-"
"""Begins every API key."""


def api_key(pair: KeyPair) -> str:
    """The one word that a client needs which cannot hold a key file; as secret as the key itself."""
    return API_KEY + urlsafe_b64encode(z85.decode(pair.secret)).decode().rstrip("=")


def pair_of_api_key(word: str) -> KeyPair:
    """The pair that an API key stands for. Raises `InvalidArgument`."""
    try:
        raw = urlsafe_b64decode(word.removeprefix(API_KEY) + "=")
        secret = z85.encode(raw).decode()
        public = zmq.curve_public(secret.encode()).decode()
    except (ValueError, zmq.ZMQError):
        raise InvalidArgument("this is no API key", "llmosctl key create --api makes one") from None
    return KeyPair(PublicKey(public), SecretKey(secret))


def is_public_key(text: str) -> bool:
    """Whether a text is the Z85 of a CURVE key."""
    return _Z85.fullmatch(text) is not None


def new_keypair() -> KeyPair:
    """Make a pair from the system's randomness."""
    public, secret = zmq.curve_keypair()
    return KeyPair(PublicKey(public.decode()), SecretKey(secret.decode()))


def save_key(path: Path, key: Key) -> None:
    """Write a key file, mode 0600. Raises `AlreadyExists`, or `InvalidArgument` for a bad name."""
    if not _NAME.fullmatch(key.name):
        raise InvalidArgument(f"{key.name!r} is no name for a key", "letters, digits and . _ @ - ; 64 at most")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise AlreadyExists(f"there is a key file at {path} already", "remove it or choose another name") from None
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(key.text())
        file.flush()
        os.fsync(file.fileno())


def replace_key(path: Path, key: Key) -> None:
    """Write an existing key file anew, whole or not at all, mode 0600."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    save_key(fresh, key)
    os.replace(fresh, path)


def load_key(path: Path) -> Key:
    """Read a key file. Raises `NotFound`, `PermissionDenied` (also if others can read it), `InvalidArgument`."""
    text = _read_private(path)
    try:
        stored = msgspec.convert(tomllib.loads(text), _KeyFile)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise _damaged(path, str(error)) from None
    return _checked(path, stored)


def _read_private(path: Path) -> str:
    try:
        with path.open("rb") as file:
            mode = S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read(1 << 16)
    except FileNotFoundError:
        raise NotFound(f"there is no key file at {path}", "llmosctl up makes one; LLMOS_KEY names another") from None
    except PermissionError:
        raise PermissionDenied(f"the key file {path} is not yours to read", "ask its owner for a key") from None
    except OSError as error:
        raise InvalidArgument(f"the key file {path} cannot be read: {error.strerror}") from None
    if mode & 0o077:
        raise PermissionDenied(f"others can read the secret key in {path} (mode {mode:03o})", f"chmod 600 {path}")
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        raise _damaged(path, "it is not text") from None


def _checked(path: Path, stored: _KeyFile) -> Key:
    if not _NAME.fullmatch(stored.name):
        raise _damaged(path, "`name` is no name")
    for field_name, value in (
        ("public", stored.public),
        ("secret", stored.secret),
        ("server", stored.server),
        ("next", stored.next),
    ):
        if value is not None and not _Z85.fullmatch(value):
            raise _damaged(path, f"`{field_name}` is no Z85 key of 40 characters")
    try:
        public = zmq.curve_public(stored.secret.encode()).decode()
    except zmq.ZMQError:
        raise _damaged(path, "`secret` is no key") from None
    if public != stored.public:
        raise _damaged(path, "`public` does not belong to `secret`")
    pair = KeyPair(PublicKey(stored.public), SecretKey(stored.secret))
    following = PublicKey(stored.next) if stored.next is not None else None
    return Key(stored.name, pair, PublicKey(stored.server), following)


def _damaged(path: Path, reason: str) -> InvalidArgument:
    return InvalidArgument(f"the key file {path} is damaged: {reason}", "take it from a backup, or make a new key")
