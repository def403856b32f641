"""What is installed: a folder for each app, with a record, its archive, and the folder that its containers see.

It does not know containers or policies. Rules: the record is written last and taken away first, so that an app is
installed whole or not at all; the folder that containers see holds its key and its socket and nothing else.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from llmos.kernel.gate.apps.archive import unpack
from llmos.kernel.gate.apps.manifest import Manifest
from llmos.kernel.ports.sandbox import ImageOrder
from llmos.kernel.security.identity.files import replace_file, sync_folder, writing
from llmos.syscalls.abi.errors import InvalidArgument

RECORD: Final = "app.json"
KEY_FILE: Final = "app.key"
SOCKET: Final = "kernel.sock"
WAY: Final = "proxy.sock"
WANTED: Final = "wanted.json"


class Installed(Struct, frozen=True):
    """One app. `image` is the engine's id, empty when it was installed where there was none."""

    manifest: Manifest
    tenant: str
    at: float
    by: str
    image: str
    image_size: int
    own_size: int
    archive: bytes

    @property
    def name(self) -> str:
        """Its name, and its principal's."""
        return self.manifest.name

    def order(self, base: str) -> ImageOrder:
        """What its image is built from."""
        manifest = self.manifest
        wanted = manifest.image
        return ImageOrder(self.name, manifest.version, unpack(self.archive), wanted.packages, base, wanted.libraries)


@dataclass(frozen=True, slots=True)
class AppFolders:
    """The folders of all apps. Blocking; one thread an app."""

    root: Path

    def seen(self, app: str) -> Path:
        """What the containers of an app see."""
        return self.root / app / "run"

    def read(self) -> Iterator[Installed]:
        """All that is installed. Raises `InvalidArgument` for a record that is damaged."""
        for path in sorted(self.root.glob(f"*/{RECORD}")):
            try:
                yield msgspec.json.decode(path.read_bytes(), type=Installed)
            except (msgspec.DecodeError, OSError) as error:
                raise InvalidArgument(
                    f"{path} is damaged: {error}", "remove the folder, and install the app again"
                ) from None

    def prepare(self, app: str) -> Path:
        """Make its folders; the one that its containers see."""
        seen = self.seen(app)
        with writing(seen):
            for folder in (self.root, seen.parent):
                folder.mkdir(mode=0o700, exist_ok=True)
            seen.mkdir(mode=0o755, exist_ok=True)
            seen.chmod(0o755)
        return seen

    def write(self, installed: Installed) -> None:
        """Keep a record; it is on the disk when this returns."""
        path = self.root / installed.name / RECORD
        with writing(path):
            replace_file(path, msgspec.json.encode(installed).decode(), 0o600)

    def write_wanted(self, app: str, wanted: tuple[tuple[str, ...], ...]) -> None:
        """Keep with which arguments it is to be begun when the daemon is."""
        path = self.root / app / WANTED
        with writing(path):
            replace_file(path, msgspec.json.encode(wanted).decode(), 0o600)

    def read_wanted(self, app: str) -> tuple[tuple[str, ...], ...]:
        """What was kept; nothing when that is damaged or was never written."""
        try:
            return msgspec.json.decode((self.root / app / WANTED).read_bytes(), type=tuple[tuple[str, ...], ...])
        except (FileNotFoundError, msgspec.DecodeError):
            return ()

    def give(self, path: Path, user: int) -> None:
        """Let the program in a container have a file."""
        with writing(path):
            if path.stat().st_uid != user:
                os.chown(path, user, user)

    def remove(self, app: str) -> None:
        """Take an app away."""
        folder = self.root / app
        with writing(folder):
            (folder / RECORD).unlink(missing_ok=True)
            sync_folder(folder)
            shutil.rmtree(folder)
