"""The transcript of a session as a file of the daemon's: what `append` has returned for is on the disk.

It does not know what records mean. Rules: one program writes a transcript at a time; who finds that somebody else has
written raises `TakenOver` and has written nothing. A torn end is cut off when a transcript is opened.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import llmos

from .records import Record, decode, encode

FOLDER = "sessions"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SUFFIX = ".log"


class TakenOver(Exception):
    """Another program goes on with the session."""


class Log:
    """The transcript of one session."""

    def __init__(self, system: llmos.System, name: str) -> None:
        """Raises `llmos.InvalidArgument` for what is no name of a session."""
        if not _NAME.fullmatch(name):
            raise llmos.InvalidArgument(f"{name!r} is no name of a session", "letters, digits and . _ -; 64 at most")
        self._system = system
        self.path = f"{FOLDER}/{name}{_SUFFIX}"
        self._size = 0

    def read(self) -> tuple[Record, ...]:
        """All records; a torn end is gone afterwards."""
        self._system.files.mkdir(FOLDER, parents=True)
        try:
            data = self._system.files.read_bytes(self.path)
        except llmos.NotFound:
            data = b""
        decoded = decode(data)
        if decoded.length < len(data):
            self._system.files.write_bytes(self.path, data[: decoded.length])
        self._size = decoded.length
        return decoded.records

    def append(self, *records: Record) -> None:
        """Write records behind the others, all of them or, after a crash, the first few. Raises `TakenOver`."""
        data = encode(records)
        with self._system.files.open(self.path, "a") as file:
            if file.stat.size != self._size:
                raise TakenOver
            file.write(data)
        self._size += len(data)

    def replace(self, records: Sequence[Record]) -> None:
        """Write these instead of all that there is."""
        data = encode(records)
        self._system.files.write_bytes(self.path, data)
        self._size = len(data)


def session_names(system: llmos.System) -> Sequence[str]:
    """Sessions that there are, by name."""
    try:
        entries = system.files.list(FOLDER)
    except llmos.NotFound:
        return ()
    names = (entry.path.rpartition("/")[2] for entry in entries)
    return [name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)]
