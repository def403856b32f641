"""The file that the log is appended to. One thread's.

It does not know records. Rules: what was appended is on the disk, and in the folder under its name, when `append`
returns; when it raises, the file is as long as before, or is made so before anything else is written.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

from llmos.kernel.security.audit.signing import write_all


class Segment:
    """An open file of the log; made when it is not there. All methods raise `OSError`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        status = os.fstat(self._descriptor)
        self.size = status.st_size
        self._identity = (status.st_dev, status.st_ino)

    def append(self, data: bytes) -> None:
        """Add bytes to the end and make them durable."""
        self._restore()
        try:
            write_all(self._descriptor, data)
            os.fdatasync(self._descriptor)
            self.check()
        except OSError:
            with suppress(OSError):
                self._restore()
            raise
        self.size += len(data)

    def check(self) -> None:
        """Raise when the file is no longer where it was: whoever looks for the log would not find what is written."""
        status = os.stat(self.path)
        if (status.st_dev, status.st_ino) != self._identity:
            raise OSError(errno.ESTALE, "the file was replaced by another", str(self.path))

    def close(self) -> None:
        """Release the file."""
        os.close(self._descriptor)

    def _restore(self) -> None:
        """Cut off what a failed write left. A file that became shorter than it was is not written to."""
        size = os.fstat(self._descriptor).st_size
        if size < self.size:
            raise OSError(errno.EIO, "the file was cut off while it was written", str(self.path))
        if size > self.size:
            os.ftruncate(self._descriptor, self.size)
