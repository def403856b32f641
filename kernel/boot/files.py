"""Puts the files of a daemon together: where they are, the threads that reach them, and the table of open ones."""

from __future__ import annotations

from dataclasses import dataclass

from llmos.drivers.files.changes import HostChanges
from llmos.drivers.files.home import Bounds
from llmos.drivers.files.store import HostFiles
from llmos.kernel.boot.service import Boot
from llmos.kernel.gate.calls.descriptors import Descriptors, OpenBounds
from llmos.kernel.gate.calls.files import FileCalls
from llmos.kernel.gate.calls.lanes import Lanes
from llmos.kernel.gate.calls.open_files import OpenFiles
from llmos.kernel.gate.calls.watches import WatchCalls
from llmos.kernel.loop.shell import Shell
from llmos.kernel.security.membrane import Membrane

THREADS = 8
"""That do what touches files. A disk is no faster for more; what waits in one lane holds up none of them."""


@dataclass(frozen=True, slots=True)
class Files:
    """The parts."""

    store: HostFiles
    changes: HostChanges
    lanes: Lanes
    table: Descriptors
    calls: OpenFiles
    watches: int

    @classmethod
    def open(cls, boot: Boot) -> Files:
        """Raises `DeviceError` when the folder of the files cannot be used."""
        wanted = boot.settings.files
        store = HostFiles(boot.home.files, Bounds(wanted.versions, wanted.quota, wanted.files))
        lanes = Lanes(boot.loop, THREADS, "files")
        table = Descriptors(OpenBounds(wanted.open_files, wanted.process_open_files))
        return cls(store, HostChanges(store), lanes, table, OpenFiles(table, lanes), wanted.watches)

    def groups(self, shell: Shell, membrane: Membrane) -> tuple[FileCalls, OpenFiles, WatchCalls]:
        """The handlers of all calls about files."""
        shell.on_exited.append(self.calls.process_exited)
        names = FileCalls(shell, membrane, self.store, self.store, self.lanes, self.calls)
        return names, self.calls, WatchCalls(shell.loop, self.changes, self.lanes, self.watches)

    def close(self) -> None:
        """Finish what is under way, and drop what nobody has closed."""
        self.lanes.close()
        self.changes.close()
        for descriptor in self.table.all():
            descriptor.file.close(discard=True)
        self.store.close()
