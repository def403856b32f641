"""The database: what was acknowledged is there, work that fails is undone alone, and readers see whole commits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import wait
from pathlib import Path

import apsw
import pytest

from llmos.drivers.store.database import Database
from llmos.syscalls.abi.errors import DeviceError, InvalidArgument

SCHEMA = "create table if not exists things(number integer primary key) strict"


def put(database: Database, number: int) -> None:
    database.write(lambda connection: _insert(connection, number)).result(10)


def _insert(connection: apsw.Connection, number: int) -> None:
    connection.execute("insert into things values(?)", (number,))


def numbers(database: Database) -> list[int]:
    return database.read(lambda connection: [row[0] for row in connection.execute("select number from things")])


def test_what_was_written_is_read_and_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    database = Database(tmp_path / "store.db", SCHEMA)
    put(database, 1)
    assert numbers(database) == [1]
    database.close()
    database.close()
    again = Database(tmp_path / "store.db", SCHEMA)
    assert numbers(again) == [1]
    again.close()
    assert (tmp_path / "store.db").stat().st_mode & 0o777 == 0o600


def test_work_that_raises_is_undone_alone(tmp_path: Path) -> None:
    database = Database(tmp_path / "store.db", SCHEMA)

    def half(connection: apsw.Connection) -> None:
        _insert(connection, 2)
        raise InvalidArgument("no")

    futures = [
        database.write(lambda connection: _insert(connection, 1)),
        database.write(half),
        database.write(lambda connection: _insert(connection, 1)),
        database.write(lambda connection: _insert(connection, 3)),
    ]
    wait(futures, 10)
    assert isinstance(futures[1].exception(), InvalidArgument)
    assert isinstance(futures[2].exception(), DeviceError)
    assert numbers(database) == [1, 3]
    database.close()


def test_the_log_can_be_emptied_into_the_file(tmp_path: Path) -> None:
    database, log = Database(tmp_path / "store.db", SCHEMA), tmp_path / "store.db-wal"
    put(database, 1)
    assert log.stat().st_size > 0
    assert database.empty_log()
    assert log.stat().st_size == 0
    assert numbers(database) == [1]
    database.close()


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    database = Database(tmp_path / "store.db", SCHEMA)
    with pytest.raises(DeviceError, match="readonly"):
        database.read(lambda connection: _insert(connection, 1))
    database.close()


def test_a_file_that_is_no_database_is_told_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(InvalidArgument, match="is damaged"):
        Database(path, SCHEMA)
    assert path.read_bytes() == b"no database at all" * 100


def test_a_folder_that_is_not_there_is_an_error_of_the_device(tmp_path: Path) -> None:
    with pytest.raises(DeviceError):
        Database(tmp_path / "missing" / "store.db", SCHEMA)


WRITER = f"""
import sys
from pathlib import Path
from llmos.drivers.store.database import Database
database = Database(Path(sys.argv[1]), {SCHEMA!r})
for number in range(100_000):
    futures = [
        database.write(lambda connection, n=number * 10 + i: connection.execute("insert into things values(?)", (n,)))
        for i in range(10)
    ]
    for future in futures:
        future.result()
    print(number, flush=True)
"""


def test_nothing_acknowledged_is_lost_when_the_writer_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == 20:
                os.kill(process.pid, signal.SIGKILL)
                break
        acknowledged = max([20, *map(int, process.stdout.read().split())])
    database = Database(path, SCHEMA)
    assert set(range(acknowledged * 10 + 10)) <= set(numbers(database))
    database.close()
