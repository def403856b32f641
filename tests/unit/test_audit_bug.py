"""A bug in the thread of the audit log is no acknowledgement: it reaches the loop, and whoever waits gets an error."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from llmos.kernel.security.audit.log import AuditLog
from llmos.kernel.security.audit.reading import read
from llmos.kernel.security.audit.record import Entry, Kind
from llmos.syscalls.abi.errors import DeviceError, Error


def broken_beside_the_loop() -> float:
    """A clock that stands still, and has a bug in every thread but the main one."""
    if threading.current_thread() is not threading.main_thread():
        raise ZeroDivisionError("a bug")
    return 1.0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_of_the_thread_reaches_the_loop_and_nothing_is_acknowledged(tmp_path: Path) -> None:
    loop, answers, bugs = asyncio.new_event_loop(), list[Error | None](), list[object]()

    def stop(loop: asyncio.AbstractEventLoop, context: Mapping[str, object]) -> None:
        bugs.append(context.get("exception"))
        loop.stop()

    loop.set_exception_handler(stop)
    log = AuditLog.open(loop, tmp_path / "audit", tmp_path / "keys", clock=broken_beside_the_loop)
    log.commit(Entry(Kind.KEY), answers.append)
    loop.run_forever()
    assert [type(bug) for bug in bugs] == [ZeroDivisionError]
    assert "a bug" in log.failing
    log.close()
    loop.close()
    assert [type(answer) for answer in answers] == [DeviceError]
    assert read(tmp_path / "audit", 0, 10) == []
