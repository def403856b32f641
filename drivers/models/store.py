"""The store of models: finds a model by reference, lists and removes. Quick, and without torch.

Layout below its directory: `entries/` (a record for each name), `converted/` (models, keyed by the digest
of what they were made from), `downloads/` (whole GGUF files that wait for conversion), `work/` (what is half-made),
`locks/`. Only `pull` adds models; what is in `converted/` is complete, because it arrives there by one
rename.
"""

from __future__ import annotations

import re
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from llmos.drivers.models.catalogue import CATALOGUE, DEFAULT_MODEL
from llmos.drivers.models.digests import fingerprint, sha256_of
from llmos.drivers.models.directory_checks import check_directory
from llmos.drivers.models.locks import try_lock
from llmos.drivers.models.records import CONVERSION, NOTE, Entries, Entry, Kind, Note, read_record
from llmos.drivers.models.references import ByName, ByPath, name_for, parse_reference
from llmos.syscalls.abi.errors import InvalidArgument, NotFound

CONVERTED = re.compile(r"converted/[0-9a-f]{32}-\d+", re.ASCII)
PULL_DEFAULT = f"llmosctl model pull {DEFAULT_MODEL}"


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model that is ready to be loaded from `directory`.

    `fingerprint` names weights, tokenizer and template; `sha256` is the digest the model is known by,
    `size` is in bytes.
    """

    name: str
    directory: Path
    fingerprint: str
    kind: Kind
    source: str
    sha256: str
    size: int


class ModelStore:
    """Models in one directory, which several homes and OS processes may share."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.entries = Entries(root / "entries")

    def resolve(self, reference: str) -> ResolvedModel:
        """The model that a name or a path means. Raises `NotFound` with what to do, or `InvalidArgument`."""
        match parse_reference(reference):
            case ByName(name):
                return self._by_name(name)
            case ByPath(path):
                return self._by_path(path)

    def models(self) -> tuple[ResolvedModel, ...]:
        """Every model that has been pulled and is still whole, by name."""
        found = []
        for entry in self.entries:
            try:
                found.append(self._of_entry(entry))
            except (NotFound, InvalidArgument):
                continue
        return tuple(found)

    def remove(self, reference: str) -> Entry:
        """Forget a model and delete what was converted for it; the user's own directories stay."""
        entry = self._entry_of(reference)
        with try_lock(self.root, entry.sha256):
            self.entries.discard(entry.name)
            used = any(other.directory == entry.directory for other in self.entries)
            if CONVERTED.fullmatch(entry.directory) and not used:
                self.discard_tree(self.root / entry.directory)
        return entry

    def converted(self, sha256: str) -> Path:
        """Where what was made from a GGUF file, or unpacked, belongs."""
        return self.root / "converted" / f"{sha256[:32]}-{CONVERSION}"

    def is_whole(self, directory: Path) -> bool:
        """Whether a converted model is all there."""
        note = read_record(directory / NOTE, Note)
        return note is not None and all(_has_size(directory / name, size) for name, size in note.files.items())

    def discard_tree(self, directory: Path) -> None:
        """Delete a directory so that nobody meets it half-deleted under its name."""
        if directory.exists():
            (self.root / "work").mkdir(parents=True, exist_ok=True)
            grave = directory.rename(self.root / "work" / f"removed-{uuid.uuid4().hex}")
            shutil.rmtree(grave)

    def _by_name(self, name: str) -> ResolvedModel:
        entry = self.entries.get(name)
        if entry is not None:
            return self._of_entry(entry)
        if name in CATALOGUE:
            raise NotFound(f"the model {name} has not been pulled", f"llmosctl model pull {name}")
        raise NotFound(f"there is no model {name}", f"see llmosctl model list, or get the default: {PULL_DEFAULT}")

    def _by_path(self, path: Path) -> ResolvedModel:
        if path.is_dir():
            return _in_place(name_for(path), path)
        if not path.is_file():
            raise NotFound(f"there is no model at {path}", f"give a directory or a GGUF file, or: {PULL_DEFAULT}")
        known = next((entry for entry in self.entries if entry.source == str(path)), None)
        unchanged = known is not None and known.stamp == stamp_of(path)
        sha256 = known.sha256 if known is not None and unchanged else sha256_of(path, lambda _: None)
        directory = self.converted(sha256)
        if not self.is_whole(directory):
            raise NotFound(f"the GGUF file {path} has not been converted", f"llmosctl model pull {path}")
        return self._whole(name_for(path), Kind.GGUF, str(path), directory)

    def _of_entry(self, entry: Entry) -> ResolvedModel:
        if entry.kind is Kind.DIRECTORY:
            return _in_place(entry.name, Path(entry.directory))
        directory = self.root / entry.directory
        if directory != self.converted(entry.sha256) or not self.is_whole(directory):
            raise NotFound(f"the model {entry.name} is not whole any more", f"llmosctl model pull {_again(entry)}")
        return self._whole(entry.name, entry.kind, entry.source, directory)

    def _whole(self, name: str, kind: Kind, source: str, directory: Path) -> ResolvedModel:
        note = read_record(directory / NOTE, Note)
        if note is None:
            raise NotFound(f"the model {name} was removed meanwhile", f"llmosctl model pull {name}")
        return ResolvedModel(name, directory, note.fingerprint, kind, source, note.sha256, sum(note.files.values()))

    def _entry_of(self, reference: str) -> Entry:
        match parse_reference(reference):
            case ByName(name):
                entry = self.entries.get(name)
            case ByPath(path):
                entry = next((entry for entry in self.entries if entry.source == str(path)), None)
        if entry is None:
            raise NotFound(f"there is no pulled model {reference}", "see llmosctl model list")
        return entry


def stamp_of(path: Path) -> str:
    """Changes when a file is written again."""
    status = path.stat()
    return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ino}"


def _in_place(name: str, directory: Path) -> ResolvedModel:
    files = check_directory(directory)
    mark = fingerprint(directory)
    size = sum(path.stat().st_size for path in files)
    return ResolvedModel(name, directory, mark, Kind.DIRECTORY, str(directory), mark, size)


def _again(entry: Entry) -> str:
    return entry.name if entry.kind is Kind.CATALOGUE else entry.source


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size
