"""The head of the log: its newest record, signed, so that a tail that was cut off is missed.

Ed25519 (RFC 8032). The private key is in the home's `keys` folder, the public one beside the log, for whoever verifies
a copy. Rule: the head on the disk is never ahead of the records on the disk.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Struct

from llmos.kernel.security.identity.files import replace_file
from llmos.syscalls.abi.errors import InvalidArgument

HEAD = "head.json"
PUBLIC = "audit.pub"

_DOMAIN = b"llmos audit head 1\0"


class Head(Struct, frozen=True):
    """The newest record and its hash (hex), when that was, and the signature (hex) over all three."""

    n: int
    hash: str
    at: float
    signature: str = ""

    def signed_bytes(self) -> bytes:
        """What the signature is over."""
        return _DOMAIN + msgspec.json.encode([self.n, self.hash, self.at])


@dataclass(frozen=True, slots=True)
class Signer:
    """The daemon's keys for its log: one that signs heads, one that digests contents."""

    private: Ed25519PrivateKey
    digest_key: bytes

    @classmethod
    def open(cls, keys: Path) -> Signer:
        """Read the keys; the first time, make them. Raises `InvalidArgument` when one is damaged."""
        keys.mkdir(mode=0o700, parents=True, exist_ok=True)
        private = _secret(keys / "audit.key")
        return cls(Ed25519PrivateKey.from_private_bytes(private), _secret(keys / "audit-digest.key"))

    @property
    def public(self) -> str:
        """The public key, hex."""
        return self.private.public_key().public_bytes_raw().hex()

    def sign(self, n: int, digest: bytes, at: float) -> Head:
        """The signed head for a record."""
        head = Head(n, digest.hex(), float(at))
        return msgspec.structs.replace(head, signature=self.private.sign(head.signed_bytes()).hex())

    def digest(self, contents: bytes) -> str:
        """A digest of contents that nobody without the key can compare guesses with; 32 hex digits."""
        return blake2b(contents, key=self.digest_key, digest_size=16).hexdigest()


def is_signed(head: Head, public: bytes) -> bool:
    """Whether the holder of the key signed this head."""
    try:
        signature = bytes.fromhex(head.signature)
        Ed25519PublicKey.from_public_bytes(public).verify(signature, head.signed_bytes())
    except (InvalidSignature, ValueError):
        return False
    # What reads hex also takes capitals and spaces.
    return signature.hex() == head.signature


def write_head(folder: Path, head: Head) -> None:
    """Put the head in place of the last one; a crash leaves one or the other."""
    fresh = folder / f".{HEAD}"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        write_all(descriptor, _head_bytes(head))
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(fresh, folder / HEAD)


def read_head(folder: Path) -> Head | None:
    """The head, None when there is none. Raises `InvalidArgument` when it is damaged."""
    path = folder / HEAD
    try:
        data = path.read_bytes()
        head = msgspec.json.decode(data, type=Head)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{path} is damaged: {error}", "llmosctl audit verify says more") from None
    if _head_bytes(head) != data:
        raise InvalidArgument(f"{path} is not written as heads are", "llmosctl audit verify says more")
    return head


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte: a full disk takes a part of them first."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _head_bytes(head: Head) -> bytes:
    return msgspec.json.encode(head) + b"\n"


def _secret(path: Path) -> bytes:
    if not path.exists():
        replace_file(path, f"{os.urandom(32).hex()}\n", 0o600)
    try:
        secret = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        secret = b""
    if len(secret) != 32:
        raise InvalidArgument(f"{path} is damaged", "take it from a backup; without it a new log must be begun")
    return secret
