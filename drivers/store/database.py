"""One SQLite database with a single writer: work of many callers is committed in groups, and readers do not wait.

It does not know what is stored. Rules:

- `write` runs work in the writer's thread, inside a transaction that it shares with what else is waiting; its future is
  done only after the commit is on the disk (WAL, `synchronous=FULL`). Work that raises is undone alone, by a savepoint.
- A commit that fails (a full disk) fails everything in it with `DeviceError`, and nothing of it is there.
- `read` runs work on a connection of the calling thread's own, which sees what was committed when the work began.
- Whoever waits for a future must not be the writer's thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Generic, TypeVar

import apsw

from llmos.syscalls.abi.errors import DeviceError, InvalidArgument

Result = TypeVar("Result")
Work = Callable[[apsw.Connection], Result]

_GROUP = 256
"""Pieces of work that one commit covers at most, so that none waits long for others."""

_BUSY_MILLISECONDS = 5_000


class _Task(Generic[Result]):
    """Work, and where its result goes."""

    def __init__(self, work: Work[Result]) -> None:
        self._work = work
        self._result: Result | None = None
        self._error: BaseException | None = None
        self.future: Future[Result] = Future()

    def run(self, connection: apsw.Connection) -> None:
        """Run in a savepoint; what it raises is kept, and what it did is undone."""
        try:
            with connection:
                self._result = self._work(connection)
        except apsw.Error as error:
            self._error = _device_error(error)
        except BaseException as error:  # noqa: BLE001 (whoever waits for the future gets it, whatever it is)
            self._error = error

    def finish(self) -> None:
        """The commit is on the disk."""
        if self._error is not None:
            self.future.set_exception(self._error)
        else:
            self.future.set_result(self._result)  # type: ignore[arg-type] # set by the work that did not raise

    def fail(self, error: DeviceError) -> None:
        """The commit could not be made."""
        self.future.set_exception(error)


class Database:
    """An open database. `close` waits for what was handed in."""

    def __init__(self, path: Path, schema: str) -> None:
        """Open or make it, and run the schema, which must be repeatable. Raises `InvalidArgument` for a damaged file,
        `DeviceError`.
        """
        self._path = path
        self._tasks: SimpleQueue[_Task[object] | None] = SimpleQueue()
        self._local = threading.local()
        self._readers: list[apsw.Connection] = []
        self._readers_lock = threading.Lock()
        self._closed = False
        self._writer = self._open_writer(schema)
        self._thread = threading.Thread(target=self._run, name=f"{path.stem} writer", daemon=True)
        self._thread.start()

    def write(self, work: Work[Result]) -> Future[Result]:
        """Run work that changes something; the result when it is on the disk. Its errors are the future's."""
        if self._closed:
            raise RuntimeError("a write after the database was closed")
        task = _Task(work)
        self._tasks.put(task)  # type: ignore[arg-type] # the queue does not look inside
        return task.future

    def read(self, work: Work[Result]) -> Result:
        """Run work that only reads, in the calling thread. Raises `DeviceError`, and what the work raises."""
        connection = self._reader()
        try:
            with connection:
                result = work(connection)
        except apsw.Error as error:
            raise _device_error(error) from None
        return result

    def empty_log(self) -> bool:
        """Move what was committed into the file, and let the write-ahead log hold nothing; in the calling thread.

        False when somebody still reads what is in it.
        """
        try:
            reader = self._reader()
            # A connection that has never read does not know that there is a log.
            reader.execute("select count(*) from sqlite_schema").fetchall()
            reader.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.BusyError:
            return False
        except apsw.Error as error:
            raise _device_error(error) from None
        return True

    def close(self) -> None:
        """Do what was handed in, then close. No reader may be under way. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._tasks.put(None)
        self._thread.join()
        with self._readers_lock:
            for reader in self._readers:
                reader.close()
        self._writer.close()

    def _open_writer(self, schema: str) -> apsw.Connection:
        try:
            connection = self._connect()
            connection.execute("pragma journal_mode=wal").fetchall()
            connection.execute("pragma synchronous=full")
            with connection:
                connection.execute(schema)
        except (apsw.NotADBError, apsw.CorruptError) as error:
            raise InvalidArgument(
                f"{self._path} is damaged: {error}", "put it aside, or restore a copy of it"
            ) from None
        except apsw.Error as error:
            raise _device_error(error) from None
        self._path.chmod(0o600)
        return connection

    def _connect(self) -> apsw.Connection:
        connection = apsw.Connection(str(self._path))
        connection.set_busy_timeout(_BUSY_MILLISECONDS)
        connection.execute("pragma foreign_keys=on")
        return connection

    def _reader(self) -> apsw.Connection:
        connection: apsw.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
            connection.execute("pragma query_only=on")
            with self._readers_lock:
                self._readers.append(connection)
        return connection

    def _run(self) -> None:
        """The writer's thread: take what waits, commit it together, then say so."""
        while (first := self._tasks.get()) is not None:
            group, last = [first], False
            while len(group) < _GROUP and not self._tasks.empty():
                task = self._tasks.get()
                if task is None:
                    last = True
                    break
                group.append(task)
            self._commit(group)
            if last:
                return

    def _commit(self, group: list[_Task[object]]) -> None:
        try:
            with self._writer:
                for task in group:
                    task.run(self._writer)
                    if not self._writer.in_transaction:
                        raise apsw.AbortError("a failure has undone the whole transaction")
        except apsw.Error as error:
            for task in group:
                task.fail(_device_error(error))
            return
        for task in group:
            task.finish()


def _device_error(error: apsw.Error) -> DeviceError:
    return DeviceError(f"the database cannot be used: {type(error).__name__}: {error}", "llmosctl doctor")
