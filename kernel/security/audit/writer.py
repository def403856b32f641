"""The end of the log at the disk: appends groups, syncs them, signs the head, begins new segments. One thread's.

Rules: records are on the disk before a head that covers them; a segment is never written again after the next one has
begun; a group that could not be written whole is written again whole, after what there is of it was cut off. What
a crash tore off the last line is cut when the log is opened again; records that were complete stay, also those beyond
the head.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from llmos.kernel.security.audit.chain import (
    START,
    BadLine,
    Link,
    decode_line,
    encode_line,
    hash_of,
    segment_name,
    segments,
)
from llmos.kernel.security.audit.group import Noted
from llmos.kernel.security.audit.record import Entry, Kind, record_of
from llmos.kernel.security.audit.signing import PUBLIC, Signer, read_head, write_head
from llmos.kernel.security.identity.files import replace_file, sync_folder
from llmos.syscalls.abi.errors import InvalidArgument


class Writer:
    """Appends to the log in a folder."""

    def __init__(self, folder: Path, signer: Signer, segment_bytes: int, now: float) -> None:
        """Open the log, or begin one. Raises `InvalidArgument` when it is damaged."""
        self._folder = folder
        self._signer = signer
        self._segment_bytes = segment_bytes
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._publish()
        self.n, self._hash, torn = _resume(folder, signer)
        self._descriptor: int | None = None
        self._size = 0
        found = segments(folder)
        if found:
            self._open(found[-1])
        if torn:
            self.append([Noted(Entry(Kind.DAEMON, detail=f"{torn} bytes of a torn record were cut off"), now)], now)

    def append(self, noted: Iterable[Noted], now: float) -> None:
        """Append a group; it is on the disk when this returns. Raises `OSError`, and then it is not in the log."""
        if self._descriptor is None or self._size >= self._segment_bytes:
            self._begin_segment(now)
        n, digest, lines = self.n, self._hash, []
        for one in noted:
            n += 1
            line, digest = encode_line(digest, record_of(one.entry, n, one.at, one.count, now))
            lines.append(line)
        self._append(b"".join(lines))
        self.n, self._hash = n, digest

    def sign(self, now: float) -> None:
        """Put a head over all that was appended. Raises `OSError`."""
        write_head(self._folder, self._signer.sign(self.n, self._hash, now))

    def close(self) -> None:
        """Release the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _begin_segment(self, now: float) -> None:
        self.close()
        n = self.n + 1
        entry = Entry(Kind.SEGMENT, detail=f"after {self._hash.hex()}")
        line, digest = encode_line(self._hash, record_of(entry, n, now))
        path = self._folder / segment_name(n)
        # One that could not be written whole before is no segment yet.
        path.unlink(missing_ok=True)
        self._open(path)
        try:
            self._append(line)
            sync_folder(self._folder)
        except OSError:
            self.close()
            raise
        self.n, self._hash = n, digest

    def _open(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._size = os.fstat(self._descriptor).st_size

    def _append(self, data: bytes) -> None:
        if self._descriptor is None:
            raise AssertionError("no segment is open")
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]
            os.fdatasync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(data)

    def _publish(self) -> None:
        path, text = self._folder / PUBLIC, f"{self._signer.public}\n"
        if not path.exists() or path.read_text(encoding="ascii", errors="replace") != text:
            if path.exists():
                raise InvalidArgument(
                    f"{path} is not of the key in use", "move the folder away to begin a new log, or restore the key"
                )
            replace_file(path, text, 0o644)


def _resume(folder: Path, signer: Signer) -> tuple[int, bytes, int]:
    """Number and hash of the newest record, and how many bytes of a torn one were cut off."""
    head, found = read_head(folder), segments(folder)
    if not found:
        if head is not None:
            raise _damaged(folder, f"record {head.n} was there and is not any more")
        return 0, START, 0
    newest = found[-1]
    torn = _cut_torn_line(newest)
    if newest.stat().st_size == 0:
        # The crash came before the first record of a new segment.
        newest.unlink()
        found.pop()
    n, digest = _follow(found[-1]) if found else (0, START)
    if head is not None and head.n > n:
        raise _damaged(folder, f"record {head.n} was there and is not any more")
    return n, digest, torn


def _follow(segment: Path) -> tuple[int, bytes]:
    """Check the chain within the last segment; number and hash of its last record."""
    previous, n = START, 0
    for number, line in enumerate(segment.read_bytes().splitlines(), 1):
        try:
            link = decode_line(line)
        except BadLine as error:
            raise _damaged(segment, f"line {number}: {error}") from None
        start = _before(link) if number == 1 else previous
        if link.claimed != hash_of(start, link.body) or (number > 1 and link.record.n != n + 1):
            raise _damaged(segment, f"line {number} does not follow the one before it")
        previous, n = link.claimed, link.record.n
    return n, previous


def _before(link: Link) -> bytes:
    """The hash before a segment, as its first record says."""
    try:
        return bytes.fromhex(link.record.detail.removeprefix("after "))
    except ValueError:
        return START


def _cut_torn_line(path: Path) -> int:
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.truncate(path, whole)
    return len(data) - whole


def _damaged(path: Path, reason: str) -> InvalidArgument:
    return InvalidArgument(
        f"the audit log {path} is damaged: {reason}",
        "llmosctl audit verify says more; move the folder away to begin a new log",
    )
