"""Any sequence of operations on files, against a model in a dict, with crashes in between."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from llmos.drivers.files.home import Bounds
from llmos.drivers.files.resolving import AtOnce, PartByPart, Resolver
from llmos.drivers.files.store import HostFiles
from llmos.kernel.ports.files import FilePath, OpenFile
from llmos.kernel.security.names import file_path
from llmos.syscalls.abi.errors import AlreadyExists, Error, InvalidArgument, LimitExceeded, NotFound, TryAgain
from llmos.syscalls.abi.files import FileKind, OpenMode

NAMES = st.sampled_from(["a", "b", "d", "versions", ".kept"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(lambda parts: FilePath("alice", tuple(parts)))
DATA = st.binary(max_size=40)
KEPT = 2
QUOTA = 300


@dataclass(slots=True)
class File:
    """A file as it should be: contents by their numbers, the present one last."""

    contents: dict[int, bytes] = field(default_factory=dict)

    @property
    def number(self) -> int:
        return max(self.contents)

    @property
    def present(self) -> bytes:
        return self.contents[self.number]

    def replace(self, data: bytes) -> None:
        self.contents[self.number + 1] = data
        for old in sorted(self.contents)[: -KEPT - 1]:
            del self.contents[old]


class FilesMachine(RuleBasedStateMachine):
    """The files of one owner, and the model."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="llmos-"))
        self.resolvers: list[Resolver] = [AtOnce(), PartByPart()]
        self.files: dict[tuple[str, ...], File] = {}
        self.folders: set[tuple[str, ...]] = {()}
        self.start()

    def start(self) -> None:
        self.resolvers.reverse()
        self.real = HostFiles(self.root, Bounds(versions=KEPT, quota=1 << 20, files=1000), self.resolvers[0])

    def teardown(self) -> None:
        self.real.close()
        shutil.rmtree(self.root)

    def attempt(self, expected: type[Error] | tuple[type[Error], ...] | None, work: Callable[[], object]) -> bool:
        """Do it; it must fail exactly when the model says so."""
        failed: Error | None = None
        try:
            work()
        except Error as error:
            failed = error
        assert isinstance(failed, expected or type(None)), (failed, expected)
        return failed is None

    def why_not(self, path: FilePath) -> type[Error] | tuple[type[Error], ...] | None:
        """What is wrong with the directory of a path."""
        for length in range(1, len(path.parts)):
            if path.parts[:length] in self.files:
                return InvalidArgument
            if path.parts[:length] not in self.folders:
                return NotFound
        return None

    def opened(self, path: FilePath, mode: OpenMode) -> OpenFile:
        return self.real.open(path, mode).file

    @rule(path=PATHS, data=DATA, mode=st.sampled_from([OpenMode.WRITE, OpenMode.CREATE]), discard=st.booleans())
    def replace(self, path: FilePath, data: bytes, mode: OpenMode, discard: bool) -> None:
        wrong = self.why_not(path)
        if wrong is None and path.parts in self.folders:
            wrong = InvalidArgument
        if wrong is None and path.parts in self.files and mode is OpenMode.CREATE:
            wrong = AlreadyExists

        def work() -> None:
            file = self.opened(path, mode)
            file.write(data[:7])
            file.write(data[7:])
            file.close(discard)

        if self.attempt(wrong, work) and not discard:
            if path.parts in self.files:
                self.files[path.parts].replace(data)
            else:
                self.files[path.parts] = File({1: data})

    @rule(path=PATHS, data=DATA.filter(bool))
    def append(self, path: FilePath, data: bytes) -> None:
        wrong = self.why_not(path) or (InvalidArgument if path.parts in self.folders else None)

        def work() -> None:
            file = self.opened(path, OpenMode.APPEND)
            file.write(data)
            file.close(discard=False)

        if self.attempt(wrong, work):
            file = self.files.setdefault(path.parts, File({1: b""}))
            file.contents[file.number] += data

    @rule(path=PATHS, data=DATA.filter(bool))
    def update(self, path: FilePath, data: bytes) -> None:
        wrong = self.why_not(path) or (InvalidArgument if path.parts in self.folders else None)
        if wrong is None and path.parts not in self.files:
            wrong = NotFound

        def work() -> None:
            file = self.opened(path, OpenMode.UPDATE)
            file.write(data)
            file.close(discard=False)

        if self.attempt(wrong, work):
            present = self.files[path.parts].present
            self.files[path.parts].replace(data + present[len(data) :])

    @rule(path=PATHS, parents=st.booleans())
    def make_directory(self, path: FilePath, parents: bool) -> None:
        wrong: type[Error] | tuple[type[Error], ...] | None = None if parents else self.why_not(path)
        if wrong is None and any(path.parts[:length] in self.files for length in range(1, len(path.parts) + 1)):
            wrong = AlreadyExists
        if wrong is None and path.parts in self.folders and not parents:
            wrong = AlreadyExists
        if self.attempt(wrong, lambda: self.real.make_directory(path, parents)):
            self.folders |= {path.parts[:length] for length in range(1, len(path.parts) + 1)}

    @rule(path=PATHS, recursive=st.booleans())
    def unlink(self, path: FilePath, recursive: bool) -> None:
        wrong = self.why_not(path)
        if wrong is None and path.parts not in self.files and path.parts not in self.folders:
            wrong = NotFound
        below = [other for other in (*self.files, *self.folders) if other[: len(path.parts)] == path.parts]
        if wrong is None and path.parts in self.folders and len(below) > 1 and not recursive:
            wrong = InvalidArgument
        if self.attempt(wrong, lambda: self.real.unlink(path, recursive)):
            for other in below:
                self.files.pop(other, None)
                self.folders.discard(other)

    @rule(path=PATHS, to=PATHS, replace=st.booleans())
    def rename(self, path: FilePath, to: FilePath, replace: bool) -> None:
        target = to
        wrong = self._why_not_rename(path, target, replace)
        if self.attempt(wrong, lambda: self.real.rename(path, target, replace)) and path != target:
            moved = self.files.pop(path.parts, None)
            if moved is not None:
                self._place(moved, target.parts)
                return
            length = len(path.parts)
            for old in [old for old in self.files if old[:length] == path.parts]:
                self.files[(*target.parts, *old[length:])] = self.files.pop(old)
            for old in [old for old in self.folders if old[:length] == path.parts]:
                self.folders.remove(old)
                self.folders.add((*target.parts, *old[length:]))

    def _why_not_rename(
        self, path: FilePath, target: FilePath, replace: bool
    ) -> type[Error] | tuple[type[Error], ...] | None:
        is_folder = path.parts in self.folders
        wrong = self.why_not(path)
        if wrong is not None:
            return wrong
        if path.parts not in self.files and not is_folder:
            return NotFound
        if path == target:
            return None
        if target.parts[: len(path.parts)] == path.parts:
            return InvalidArgument
        wrong = self.why_not(target)
        if wrong is not None:
            return wrong
        if target.parts in self.folders:
            return InvalidArgument if replace else AlreadyExists
        if target.parts in self.files and (not replace or is_folder):
            return AlreadyExists
        return None

    def _place(self, moved: File, target: tuple[str, ...]) -> None:
        """What was there is kept, and after it what was kept of the file that comes."""
        old = self.files.get(target)
        if old is None:
            self.files[target] = moved
            return
        contents, number = dict(old.contents), old.number
        for version in sorted(moved.contents)[:-1]:
            number = max(number + 1, version)
            contents[number] = moved.contents[version]
        for version in sorted(contents)[:-KEPT]:
            del contents[version]
        contents[max(number, moved.number - 1) + 1] = moved.present
        self.files[target] = File(contents)

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        parts = data.draw(st.sampled_from(sorted(self.files)))
        file = self.files[parts]
        version = data.draw(st.integers(1, file.number))
        wrong = NotFound if version == file.number or version not in file.contents else None
        content = file.contents.get(version, b"")
        if self.attempt(wrong, lambda: self.real.restore(FilePath("alice", parts), version)):
            file.replace(content)

    @rule(data=DATA)
    def crash_while_something_is_written(self, data: bytes) -> None:
        file = self.opened(FilePath("alice", ("never",)), OpenMode.WRITE)
        file.write(data)
        self.real.close()
        self.start()
        self.real.home("alice")
        file.close(discard=True)

    @invariant()
    def everything_is_as_the_model_says(self) -> None:
        seen = self._walk(FilePath("alice", ()))
        assert seen == self.folders - {()} | set(self.files)
        home = self.real.home("alice")
        assert home.entries == len(seen)
        assert home.used == sum(len(one) for file in self.files.values() for one in file.contents.values())

    def _walk(self, path: FilePath) -> set[tuple[str, ...]]:
        seen: set[tuple[str, ...]] = set()
        for entry in self.real.list(path, 100, None).entries:
            there = file_path(entry.path, "alice")
            seen.add(there.parts)
            if entry.kind is FileKind.DIRECTORY:
                seen |= self._walk(there)
                continue
            file = self.files[there.parts]
            reading = self.opened(there, OpenMode.READ)
            assert reading.read(1000) == file.present
            reading.close(discard=False)
            assert entry.version == file.number
            kept = [(one.version, one.size) for one in self.real.versions(there)]
            assert kept == [(n, len(file.contents[n])) for n in sorted(file.contents, reverse=True)[1:]]
        return seen


FilesMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=30)
TestFiles = FilesMachine.TestCase


@given(
    writes=st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 200), st.booleans()), max_size=12),
)
@settings(max_examples=40)
def test_the_quota_is_never_exceeded_and_a_refusal_changes_nothing(writes: list[tuple[str, int, bool]]) -> None:
    root = Path(tempfile.mkdtemp(prefix="llmos-"))
    files = HostFiles(root, Bounds(versions=3, quota=QUOTA))
    try:
        for name, size, replacing in writes:
            path = FilePath("alice", (name,))
            before = files.list(FilePath("alice", ()), 9, None)
            file = files.open(path, OpenMode.WRITE if replacing else OpenMode.APPEND).file
            try:
                file.write(bytes(size))
            except (LimitExceeded, TryAgain):
                file.close(discard=True)
                after = files.list(FilePath("alice", ()), 9, None)
                assert [e for e in after.entries if e.path != str(path)] == [
                    e for e in before.entries if e.path != str(path)
                ]
            else:
                file.close(discard=False)
            assert 0 <= files.home("alice").used <= QUOTA
        used, entries = files.home("alice").used, files.home("alice").entries
        again = HostFiles(root, Bounds(versions=3, quota=QUOTA))
        assert (again.home("alice").used, again.home("alice").entries) == (used, entries)
        again.close()
    finally:
        files.close()
        shutil.rmtree(root)
