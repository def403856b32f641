"""The journal of ratings in the app's files: what `append` has returned for is on the disk.

It does not know what the entries mean. Rules: entries are appended and never changed; who wants to know reads what is
new since he last read, so that several programs may write the same journal; what a crash has torn is passed over.
"""

from __future__ import annotations

import llmos

from .ratings import Entry, decode, encode

PATH = "ratings.log"


class Journal:
    """One reader's place in the journal. It belongs to one thread at a time."""

    def __init__(self, system: llmos.System, path: str = PATH) -> None:
        self._files = system.files
        self._path = path
        self._position = 0
        self.damaged = 0

    def append(self, entry: Entry) -> None:
        """Make it lasting. Raises `LimitExceeded` when the app's files may hold no more; then it was not said."""
        with self._files.open(self._path, "a") as file:
            file.write(encode(entry))

    def news(self) -> tuple[Entry, ...]:
        """What was appended since the last time, by whomever."""
        decoded = decode(self._unread())
        self._position += decoded.taken
        self.damaged += decoded.damaged
        return decoded.entries

    def _unread(self) -> bytes:
        try:
            with self._files.open(self._path) as file:
                if file.stat.size < self._position:
                    self._position = 0  # somebody has put another in its place
                file.seek(self._position)
                return file.read()
        except llmos.NotFound:
            return b""
