"""The end of the log at the disk: appends groups, syncs them, signs the head, begins new segments. One thread's.

Rules: records are on the disk before a head that covers them; a segment is never written again after the next one has
begun; a group that could not be written whole is written again whole, after what there is of it was cut off. A new log
begins with a head of no records, so that records without a head are always a fault.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from llmos.kernel.security.audit.chain import START, encode_line, segment_detail, segment_name
from llmos.kernel.security.audit.group import Noted
from llmos.kernel.security.audit.record import Entry, Kind, record_of
from llmos.kernel.security.audit.resume import End, find_end
from llmos.kernel.security.audit.segment import Segment
from llmos.kernel.security.audit.signing import PUBLIC, Head, Signer, write_head
from llmos.kernel.security.identity.files import replace_file, sync_folder
from llmos.syscalls.abi.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class Progress:
    """The head on the disk, and what was written since the log was opened."""

    head: Head
    records: int = 0
    groups: int = 0
    bytes: int = 0


class Writer:
    """Appends to the log in a folder."""

    def __init__(self, folder: Path, signer: Signer, segment_bytes: int, now: float) -> None:
        """Open the log, or begin one. Raises `InvalidArgument` when it is damaged, `OSError`."""
        self._folder = folder
        self._signer = signer
        self._segment_bytes = segment_bytes
        self._records = self._groups = self._bytes = 0
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._publish()
        end = find_end(folder, signer) or End(0, START, None, 0)
        self._n, self._hash = end.n, end.hash
        self._segment = Segment(end.segment) if end.segment is not None else None
        if end.torn:
            self.append([Noted(Entry(Kind.DAEMON, detail=_recovered(end.torn)), now)], now)
        self.progress = self.sign(now)

    def append(self, noted: Iterable[Noted], now: float) -> None:
        """Append a group; it is on the disk when this returns. Raises `OSError`, and then it is not in the log."""
        segment = self._segment
        if segment is None or segment.size >= self._segment_bytes:
            segment = self._begin_segment(now)
        n, digest, lines = self._n, self._hash, []
        for one in noted:
            n += 1
            line, digest = encode_line(digest, record_of(one.entry, n, one.at, one.count, now))
            lines.append(line)
        self._append(segment, b"".join(lines), n, digest)
        self._groups += 1

    def sign(self, now: float) -> Progress:
        """Put a head over all that was appended. Raises `OSError`."""
        if self._segment is not None:
            self._segment.check()
        head = self._signer.sign(self._n, self._hash, now)
        write_head(self._folder, head)
        self.progress = Progress(head, self._records, self._groups, self._bytes)
        return self.progress

    def close(self) -> None:
        """Release the file."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def _begin_segment(self, now: float) -> Segment:
        if self._segment is not None:
            self._segment.check()
        n = self._n + 1
        entry = Entry(Kind.SEGMENT, detail=segment_detail(self._hash))
        line, digest = encode_line(self._hash, record_of(entry, n, now))
        segment = self._new_segment(n)
        try:
            self._append(segment, line, n, digest)
        except OSError:
            segment.close()
            raise
        self.close()
        self._segment = segment
        return segment

    def _new_segment(self, n: int) -> Segment:
        path = self._folder / segment_name(n)
        # One that could not be written whole before is no segment yet.
        path.unlink(missing_ok=True)
        segment = Segment(path)
        try:
            sync_folder(self._folder)
        except OSError:
            segment.close()
            with suppress(OSError):
                path.unlink()
            raise
        return segment

    def _append(self, segment: Segment, data: bytes, n: int, digest: bytes) -> None:
        segment.append(data)
        self._records += n - self._n
        self._bytes += len(data)
        self._n, self._hash = n, digest

    def _publish(self) -> None:
        path, text = self._folder / PUBLIC, f"{self._signer.public}\n"
        if not path.exists():
            replace_file(path, text, 0o644)
        elif path.read_text(encoding="ascii", errors="replace") != text:
            raise InvalidArgument(
                f"{path} is not of the key in use", "move the folder away to begin a new log, or restore the key"
            )


def _recovered(torn: int) -> str:
    return f"recovered: {torn} bytes of a torn record were cut"
