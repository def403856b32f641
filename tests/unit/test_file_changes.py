"""Watching: what is told of changes made through the files and from outside."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue

import pytest

from llmos.drivers.files.changes import HostChanges
from llmos.drivers.files.store import HostFiles
from llmos.kernel.ports.files import FilePath
from llmos.kernel.security.names import file_path
from llmos.syscalls.abi.errors import NotFound
from llmos.syscalls.abi.files import Change, FileChanged, OpenMode

PATIENCE = 10.0


class Scene:
    """One home, and what was told of it."""

    def __init__(self, root: Path) -> None:
        self.files = HostFiles(root)
        self.changes = HostChanges(self.files)
        self.files.home("alice")
        self.home = root / "alice"
        self.told: SimpleQueue[Sequence[FileChanged]] = SimpleQueue()
        self._seen: list[FileChanged] = []

    def path(self, text: str) -> FilePath:
        return file_path(text, "alice")

    def put(self, path: str, data: bytes = b"x", mode: str = "w") -> None:
        file = self.files.open(self.path(path), OpenMode(mode)).file
        file.write(data)
        file.close(discard=False)

    def until(self, path: str, change: Change) -> list[str]:
        """All that was told up to this, in words: `change path` or `moved path -> target`."""
        words: list[str] = []
        while True:
            while self._seen:
                one = self._seen.pop(0)
                there = one.path.removeprefix("/home/alice/")
                target = f" -> {one.target.removeprefix('/home/alice/')}" if one.target is not None else ""
                words.append(f"{one.change.value} {there}{target}")
                if (there, one.change) == (path, change):
                    return words
            self._seen += self.told.get(timeout=PATIENCE)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    before = len(os.listdir("/proc/self/fd"))
    made = Scene(tmp_path / "files")
    yield made
    made.changes.close()
    made.files.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_replacement_is_one_change_and_shows_nothing_temporary(scene: Scene) -> None:
    scene.put("a")
    scene.changes.watch(scene.path(""), scene.told.put)
    scene.put("a")
    scene.put("new")
    scene.put("a")
    scene.put("other")
    scene.files.restore(scene.path("a"), 1)
    scene.put("last")
    told = scene.until("last", Change.CREATED)
    assert told == ["changed a", "created new", "changed a", "created other", "changed a", "created last"]


def test_a_change_in_place_removal_and_renaming_are_told(scene: Scene) -> None:
    scene.put("a")
    scene.changes.watch(scene.path(""), scene.told.put)
    scene.put("a", b"y", "u")
    scene.files.make_directory(scene.path("d"), parents=False)
    # What happens in a new directory before it is watched is told as what is found there then.
    assert scene.until("d", Change.CREATED) == ["changed a", "created d"]
    scene.files.rename(scene.path("a"), scene.path("d/b"), replace=False)
    scene.files.rename(scene.path("d"), scene.path("e"), replace=False)
    scene.put("e/b")
    scene.files.unlink(scene.path("e"), recursive=True)
    scene.put("last")
    assert scene.until("last", Change.CREATED) == [
        "moved a -> d/b",
        "moved d -> e",
        "changed e/b",
        "removed e",
        "created last",
    ]


def test_changes_from_outside_are_told_and_links_are_not(scene: Scene, tmp_path: Path) -> None:
    scene.changes.watch(scene.path(""), scene.told.put)
    (scene.home / "link").symlink_to(tmp_path)
    os.mkfifo(scene.home / "fifo")
    (tmp_path / "tree" / "inner").mkdir(parents=True)
    (tmp_path / "tree" / "inner" / "file").write_bytes(b"x")
    shutil.move(tmp_path / "tree", scene.home / "tree")
    (scene.home / "tree" / "inner" / "late").touch()
    (scene.home / "link").unlink()
    (scene.home / "last").mkdir()
    told = scene.until("last", Change.CREATED)
    assert set(told) == {
        "created tree",
        "created tree/inner",
        "created tree/inner/file",
        "created tree/inner/late",
        "created last",
    }
    (scene.home / "tree" / "inner" / "file").rename(tmp_path / "away")
    assert scene.until("tree/inner/file", Change.REMOVED)[-1] == "removed tree/inner/file"


def test_one_file_is_watched_by_its_name(scene: Scene) -> None:
    scene.put("a")
    scene.put("b")
    scene.changes.watch(scene.path("a"), scene.told.put)
    scene.put("b")
    scene.put("a")
    scene.files.unlink(scene.path("a"), recursive=False)
    assert scene.until("a", Change.REMOVED) == ["changed a", "removed a"]
    scene.put("a")
    scene.files.rename(scene.path("a"), scene.path("c"), replace=False)
    assert scene.until("a", Change.MOVED) == ["created a", "moved a -> c"]


@pytest.mark.parametrize("ending", [lambda home: (home / "d").rmdir(), lambda home: (home / "d").rename(home / "e")])
def test_a_watch_ends_with_what_it_watches(scene: Scene, ending: Callable[[Path], object]) -> None:
    scene.files.make_directory(scene.path("d"), parents=False)
    scene.changes.watch(scene.path("d"), scene.told.put)
    ending(scene.home)
    assert scene.until("d", Change.REMOVED) == ["removed d"]
    assert scene.told.get(timeout=PATIENCE) == ()


def test_what_is_not_there_cannot_be_watched(scene: Scene) -> None:
    with pytest.raises(NotFound, match="nope"):
        scene.changes.watch(scene.path("nope"), scene.told.put)


def test_a_closed_watch_tells_nothing(scene: Scene) -> None:
    watch = scene.changes.watch(scene.path(""), scene.told.put)
    watch.close()
    watch.close()
    scene.changes.watch(scene.path(""), lambda changes: scene.told.put(changes))
    scene.put("a")
    assert scene.until("a", Change.CREATED) == ["created a"]
    assert scene.told.empty()
