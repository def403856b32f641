"""A connection to the daemon, usable from many threads: encodes calls and hands them to the IO thread.

It does not know which calls there are beyond their names, nor whether its user blocks or awaits. Rules:
`open_connection` returns a link that is up or raises; a connection that is dropped without `close` ends its
thread all the same.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from itertools import count
from pathlib import Path
from queue import SimpleQueue

from llmos.syscalls.abi.errors import Error
from llmos.syscalls.abi.words import Record
from llmos.syscalls.sdk.protocol import GRACE_SECONDS
from llmos.syscalls.sdk.unawaited import Unawaited
from llmos.syscalls.sdk.worker import Abandon, Cancel, Credit, Inbox, Start, Stop, Worker
from llmos.syscalls.wire.codec import encode_call
from llmos.syscalls.wire.home import default_endpoint, default_key
from llmos.syscalls.wire.keys import Key, load_key, replace_key

_log = logging.getLogger("llmos")


class Connection:
    """One connection that is up. All methods are thread-safe and return at once, except `close`."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._ids = count(1)
        self._unawaited = Unawaited()
        self._drop = weakref.finalize(self, _end, worker)

    def start(self, call: str, request: Record, inbox: Inbox, timeout: float | None = None) -> int:
        """Send a call and return its id. `timeout` in seconds: the kernel enforces it, else this end does.

        Raises `MessageTooLong`, or why the connection has ended; every other failure comes through the inbox.
        """
        frame_id = next(self._ids)
        frame = encode_call(frame_id, call, request, timeout)
        patience = None if timeout is None else timeout + GRACE_SECONDS
        self._worker.start(Start(frame_id, frame, inbox, patience))
        return frame_id

    def tell(self, call: str, request: Record) -> None:
        """Send a call whose answer nobody waits for, except `close`; what goes wrong with it is told to nobody."""
        self._unawaited.expect()
        try:
            self.start(call, request, self._unawaited)
        except Error:
            self._unawaited.forget()

    @property
    def closed(self) -> bool:
        """Whether `close` was called: nothing can be started any more."""
        return not self._drop.alive

    def cancel(self, id: int) -> None:
        """Ask the kernel to stop a call; its last event still comes."""
        self._worker.post(Cancel(id))

    def credit(self, id: int, credit: int) -> None:
        """Allow the stream of a call more events."""
        self._worker.post(Credit(id, credit))

    def abandon(self, id: int) -> None:
        """Cancel a call and deliver nothing more of it; without effect when it is over."""
        self._worker.post(Abandon(id))

    def abandon_with(self, owner: object, id: int) -> Callable[[], object]:
        """Abandon a call when `owner` is garbage, or when what this returns is called."""
        finalizer = weakref.finalize(owner, self._worker.post, Abandon(id))
        finalizer.atexit = False
        return finalizer

    def close(self) -> None:
        """End the connection: calls that are open fail, thread and sockets are gone when this returns."""
        self._unawaited.wait()
        self._drop.detach()
        _end(self._worker)


def open_connection(endpoint: str | None = None, key: str | Path | None = None) -> Connection:
    """Connect; blocks until the daemon has accepted the key.

    Raises `TryAgain` (no daemon), `PermissionDenied` (key refused), or what is wrong with key or endpoint.
    """
    path = Path(key) if key is not None else default_key()
    return _connect(endpoint or default_endpoint(), path, load_key(path))


def _connect(endpoint: str, path: Path, key: Key) -> Connection:
    ready: SimpleQueue[Error | None] = SimpleQueue()
    worker = Worker(endpoint, key, ready.put, lambda changed: _keep_key(path, changed))
    worker.launch()
    connection = Connection(worker)
    error = ready.get()
    if error is not None:
        connection.close()
        raise error
    return connection


def _keep_key(path: Path, key: Key) -> None:
    """Write the daemon's new key into the key file; a file that cannot be written stays as it is."""
    try:
        replace_key(path, key)
    except (OSError, Error) as error:
        _log.warning("the key file %s could not be brought up to date: %s", path, error)


def _end(worker: Worker) -> None:
    worker.post(Stop())
    worker.join()
