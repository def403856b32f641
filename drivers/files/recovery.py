"""What a home needs when it is first used after a start: an end to what a crash has interrupted, and a new count.

Rules: a renaming that had happened is finished, one that had not is forgotten; contents that were never acknowledged
are dropped; kept contents of a file that is not there any more are removed; what was kept of a content that is still
the present one is not kept.
"""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass, field
from stat import S_ISDIR, S_ISREG

import msgspec

from llmos.drivers.files import kept
from llmos.drivers.files.home import Home
from llmos.drivers.files.layout import FILE_MODE, INTENT, look, opened, remove_below
from llmos.kernel.ports.files import FilePath


class Intent(msgspec.Struct, frozen=True):
    """A renaming that is under way: parts of both paths."""

    source: tuple[str, ...]
    target: tuple[str, ...]


@dataclass(slots=True)
class _Count:
    """What a walk has found. `places` are those of all files and directories, `inodes` those of files by place."""

    size: int = 0
    entries: int = 0
    directories: set[kept.Place] = field(default_factory=set)
    inodes: dict[kept.Place, int] = field(default_factory=dict)


def recover(home: Home) -> None:
    """Bring a home into order and count it."""
    home.layout.make(home.owner)
    _finish_renaming(home)
    with home.temporary() as trash:
        for name in os.listdir(trash):
            remove_below(trash, name, iter(home.layout.new_name, ""))
    count = _walk(home)
    home.entries = count.entries
    home.used = count.size + _clean_versions(home, count)


def write_intent(home: Home, intent: Intent) -> None:
    """Remember a renaming before it happens."""
    with home.layout.kept(home.owner) as own, home.temporary() as temporary:
        name = home.layout.new_name()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(name, flags, FILE_MODE, dir_fd=temporary)
        try:
            os.write(file, msgspec.json.encode(intent))
            os.fsync(file)
        finally:
            os.close(file)
        os.rename(name, INTENT, src_dir_fd=temporary, dst_dir_fd=own)
        os.fsync(own)


def clear_intent(home: Home) -> None:
    """The renaming is over."""
    with home.layout.kept(home.owner) as own:
        os.unlink(INTENT, dir_fd=own)


def move_versions(home: Home, source: tuple[str, ...], target: tuple[str, ...], is_directory: bool) -> None:
    """Let what is kept follow a renaming; may be done again after a crash in the middle of it."""
    if is_directory:
        _move_branch(home, kept.place_of_directory(source), kept.place_of_directory(target))
    else:
        _append_versions(home, FilePath(home.owner, source), FilePath(home.owner, target))


def remove_versions(home: Home, place: kept.Place) -> int:
    """Remove what is kept at a place and below it; bytes that are free now."""
    with home.versions() as root, home.temporary() as trash:
        above = kept.open_place(root, place[:-1])
        if above is None:
            return 0
        try:
            name = home.layout.new_name()
            os.rename(place[-1], name, src_dir_fd=above, dst_dir_fd=trash)
        except FileNotFoundError:
            return 0
        finally:
            os.close(above)
        return remove_below(trash, name, iter(home.layout.new_name, "")).size


def _finish_renaming(home: Home) -> None:
    with home.layout.kept(home.owner) as own:
        if look(INTENT, own) is None:
            return
        file = os.open(INTENT, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=own)
        try:
            intent = msgspec.json.decode(os.read(file, 1 << 16), type=Intent)
        finally:
            os.close(file)
    source, target = (_find(home, parts) for parts in (intent.source, intent.target))
    if source is None and target is not None:
        move_versions(home, intent.source, intent.target, S_ISDIR(target.st_mode))
    clear_intent(home)


def _find(home: Home, parts: tuple[str, ...]) -> os.stat_result | None:
    try:
        with home.parent(FilePath(home.owner, parts)) as parent:
            return look(parts[-1], parent)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _move_branch(home: Home, source: kept.Place, target: kept.Place) -> None:
    with home.versions() as root:
        above = kept.open_place(root, source[:-1])
        if above is None:
            return
        try:
            if look(source[-1], above) is None:
                return
            home.used -= remove_versions(home, target)
            beside = kept.open_place(root, target[:-1], make=True)
            if beside is None:
                raise AssertionError("a folder that was just made")
            try:
                os.rename(source[-1], target[-1], src_dir_fd=above, dst_dir_fd=beside)
                os.fsync(beside)
            finally:
                os.close(beside)
        finally:
            os.close(above)


def _append_versions(home: Home, source: FilePath, target: FilePath) -> None:
    """What was kept under the old name comes after what is kept under the new one."""
    with home.place(source) as old:
        if old is None:
            return
        with home.place(target, make=True) as new:
            if new is None:
                raise AssertionError("a folder that was just made")
            left, number = kept.held_in(old), kept.held_in(new).highest
            for version in left.numbers:
                number = max(number + 1, version)
                os.rename(str(version), str(number), src_dir_fd=old, dst_dir_fd=new)
            if left.highest > number:
                kept.mark(new, left.highest)
            os.fsync(new)
            numbers = kept.held_in(new).numbers
            home.used -= kept.drop(new, numbers[: max(0, len(numbers) - home.bounds.versions)])
    home.used -= remove_versions(home, kept.place_of_file(source.parts))


def _walk(home: Home) -> _Count:
    count, waiting = _Count(), deque[tuple[str, ...]]([()])
    while waiting:
        parts = waiting.popleft()
        with home.directory(FilePath(home.owner, parts)) as folder, os.scandir(folder) as entries:
            for entry in entries:
                found = look(entry.name, folder)
                if found is not None and S_ISDIR(found.st_mode):
                    count.entries += 1
                    count.directories.add(kept.place_of_directory((*parts, entry.name)))
                    waiting.append((*parts, entry.name))
                elif found is not None and S_ISREG(found.st_mode):
                    count.entries += 1
                    count.size += found.st_size
                    count.inodes[kept.place_of_file((*parts, entry.name))] = found.st_ino
    return count


def _clean_versions(home: Home, count: _Count) -> int:
    """Remove what belongs to no file; bytes of what is left."""
    size, waiting = 0, deque[kept.Place]([()])
    with home.versions() as root:
        while waiting:
            place = waiting.popleft()
            folder = kept.open_place(root, place)
            if folder is None:
                continue
            try:
                for name in os.listdir(folder):
                    there = (*place, name)
                    if there in count.directories:
                        waiting.append(there)
                    elif there in count.inodes:
                        size += _clean_place(folder, name, count.inodes[there])
                    else:
                        remove_versions(home, there)
            finally:
                os.close(folder)
    return size


def _clean_place(above: int, name: str, inode: int) -> int:
    with opened(above, name) as folder:
        for number in kept.held_in(folder).numbers:
            found = look(str(number), folder)
            if found is not None and found.st_ino == inode:
                os.unlink(str(number), dir_fd=folder)
        return kept.size_in(folder)
