"""Where the policy in force comes from: the shipped roles and the files in `HOME/policy/`, or one's own place instead.

It does not know who asks. Rules: all files are one policy; a change is tried whole before a file is touched, and a file
is replaced whole; a broken file leaves the old policy in force and is reported once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llmos.kernel.security.identity.files import Stamp, replace_file, stamp_of, sync_folder, writing
from llmos.kernel.security.policy.decisions import SHIPPED_ROLES, Policy
from llmos.kernel.security.policy.document import Document, Source, parse, read_sources
from llmos.syscalls.abi.errors import InvalidArgument, NotFound, NotSupported

_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,58}\.csv")


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file with its new text, or taken away when that is None."""

    name: str
    text: str | None


class PolicyStore:
    """The files of the policy. `place` is the folder of own files; with `whole`, a file or folder that is all."""

    def __init__(self, place: Path, whole: bool = False, model: Path | None = None) -> None:
        self._place = place
        self._whole = whole
        self._model = model
        self._stamps = self._now()

    def load(self) -> Policy:
        """The policy of the files as they are. Raises `InvalidArgument`."""
        self._stamps = self._now()
        return self._compile(self.sources())

    def sources(self) -> tuple[Source, ...]:
        """The files, shipped ones first."""
        shipped = () if self._whole else read_sources(SHIPPED_ROLES)
        own = read_sources(self._place) if self._whole or self._place.is_dir() else ()
        return (*shipped, *own)

    def shipped(self, name: str) -> bool:
        """Whether a file comes with llmos."""
        return not self._whole and name == SHIPPED_ROLES.name

    def document(self, changes: Sequence[FileChange]) -> Document:
        """What the files would say after these changes. Raises `InvalidArgument`."""
        return parse(self._changed(changes))

    def compile(self, changes: Sequence[FileChange]) -> Policy:
        """The policy after these changes; nothing is written. Raises `InvalidArgument`."""
        return self._compile(self._changed(changes))

    def write(self, change: FileChange) -> None:
        """Make a change that was compiled before; it is on the disk when this returns. Raises `DeviceError`."""
        path = self._place / change.name
        with writing(path):
            self._place.mkdir(mode=0o700, parents=True, exist_ok=True)
            if change.text is None:
                path.unlink(missing_ok=True)
                sync_folder(self._place)
            else:
                replace_file(path, change.text, 0o600)
        # Of this file alone: another one that somebody has edited since it was read is touched still.
        self._stamps = {name: stamp for name, stamp in self._stamps.items() if name != change.name}
        if (stamp := stamp_of(path)) is not None:
            self._stamps[change.name] = stamp

    @property
    def touched(self) -> bool:
        """Whether a file has changed since they were last read or written here."""
        return self._now() != self._stamps

    def _compile(self, sources: Sequence[Source]) -> Policy:
        return Policy(parse(sources), self._model)

    def _changed(self, changes: Sequence[FileChange]) -> tuple[Source, ...]:
        named = {source.name: source for source in self.sources()}
        for change in changes:
            self._check(change, named)
            if change.text is None:
                del named[change.name]
            else:
                named[change.name] = Source(change.name, change.text)
        shipped = [source for source in named.values() if self.shipped(source.name)]
        own = sorted((source for source in named.values() if source not in shipped), key=lambda source: source.name)
        return (*shipped, *own)

    def _check(self, change: FileChange, named: dict[str, Source]) -> None:
        if not _FILE.fullmatch(change.name):
            raise InvalidArgument(f"{change.name!r} is no name for a policy file", "letters, digits . _ - and .csv")
        if self.shipped(change.name):
            raise InvalidArgument(f"{change.name} comes with llmos", "a deny in a file of your own outweighs it")
        if self._whole and not self._place.is_dir():
            raise NotSupported(f"the policy is the one file {self._place}", "edit it; it is read when it has changed")
        if change.text is None and change.name not in named:
            raise NotFound(f"there is no policy file {change.name}", "llmosctl policy show")

    def _now(self) -> dict[str, Stamp | None]:
        files = sorted(self._place.glob("*.csv")) if self._place.is_dir() else [self._place]
        return {file.name: stamp_of(file) for file in (*files, *([self._model] if self._model else []))}
