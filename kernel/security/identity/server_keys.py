"""The daemon's own key, and the one that follows it.

A rotation announces the next key first: until `switch_at` the old one serves, and every client that calls is told the
next one, which its SDK writes into its key file. Then the next one takes over. Files: `server.key` (secret) and
`server.pub`, and while a rotation is under way `server-next.key` and `rotation.toml`.

Rules: secrets are in files of mode 0600 and nowhere else; a crash at any point leaves the old key or the new one in
force, with both files whole; what cannot be written leaves the old one in force and can be tried again.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

import msgspec
import zmq

from llmos.kernel.security.identity.files import replace_file, writing
from llmos.syscalls.abi.errors import Busy, InvalidArgument
from llmos.syscalls.abi.words import Record
from llmos.syscalls.wire.keys import KeyPair, PublicKey, SecretKey, new_keypair


@dataclass(frozen=True, slots=True)
class Rotation:
    """The key that takes over at `switch_at`, in seconds since the epoch."""

    pair: KeyPair
    switch_at: float


class _RotationFile(Record, frozen=True):
    switch_at: float


class ServerKeys:
    """The pair in force, and the rotation under way if there is one."""

    def __init__(self, folder: Path) -> None:
        """Make the keys the first time. Raises `InvalidArgument` when a file is damaged, `DeviceError`."""
        self._folder = folder
        secret = folder / "server.key"
        if not secret.exists():
            with writing(secret):
                replace_file(secret, f"{new_keypair().secret}\n", 0o600)
        self.pair = _read_pair(secret)
        self.rotation = self._read_rotation()
        with writing(folder):
            self._publish(self.pair)

    def rotate(self, switch_at: float) -> Rotation:
        """Announce another key. Raises `Busy` while one is announced already, `DeviceError`."""
        if self.rotation is not None:
            raise Busy("a rotation of the server key is under way", "llmosctl key list shows until when")
        pair = new_keypair()
        with writing(self._folder):
            replace_file(self._next, f"{pair.secret}\n", 0o600)
            replace_file(self._plan, f"switch_at = {switch_at!r}\n", 0o600)
        self.rotation = Rotation(pair, switch_at)
        return self.rotation

    def switch(self) -> None:
        """Let the announced key take over now. Raises `DeviceError`; it is announced still then."""
        if self.rotation is None:
            raise AssertionError("no key was announced")
        pair = self.rotation.pair
        with writing(self._folder):
            replace_file(self._folder / "server.key", f"{pair.secret}\n", 0o600)
            self._publish(pair)
            self._next.unlink(missing_ok=True)
            self._plan.unlink(missing_ok=True)
        self.pair, self.rotation = pair, None

    @property
    def _next(self) -> Path:
        return self._folder / "server-next.key"

    @property
    def _plan(self) -> Path:
        return self._folder / "rotation.toml"

    def _read_rotation(self) -> Rotation | None:
        if not (self._plan.exists() and self._next.exists()):
            return None
        try:
            plan = msgspec.convert(tomllib.loads(self._plan.read_text(encoding="utf-8")), _RotationFile)
        except (OSError, ValueError, msgspec.ValidationError) as error:
            raise InvalidArgument(f"{self._plan} is damaged: {error}", "remove it to call the rotation off") from None
        pair = _read_pair(self._next)
        # A switch that a crash cut short: the key is in force already.
        return Rotation(pair, plan.switch_at) if pair.public != self.pair.public else None

    def _publish(self, pair: KeyPair) -> None:
        path, text = self._folder / "server.pub", f"{pair.public}\n"
        if not path.exists() or path.read_text(encoding="ascii", errors="replace") != text:
            replace_file(path, text, 0o644)


def _read_pair(path: Path) -> KeyPair:
    secret = path.read_text(encoding="ascii", errors="replace").strip()
    try:
        public = zmq.curve_public(secret.encode()).decode()
    except (zmq.ZMQError, ValueError):
        raise InvalidArgument(
            f"{path} is damaged", "take it from a backup; without it all clients need new key files"
        ) from None
    return KeyPair(PublicKey(public), SecretKey(secret))
