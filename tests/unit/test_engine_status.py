"""What becomes of an engine, read from a pipe: whatever number its descriptor has."""

from __future__ import annotations

import os
import resource
from fcntl import F_DUPFD_CLOEXEC, fcntl

from llmos.drivers.engine.status import EngineStatus, announce

HIGH = 2000
"""A descriptor that `select` does not take."""


def test_pid_and_end_are_told_in_this_order() -> None:
    status, writing = EngineStatus.create()
    assert status.os_pid == 0
    announce(writing, 1234)
    assert status.os_pid == 1234
    announce(writing, -9)
    os.close(writing)
    assert status.epitaph(10.0) == "killed by signal 9"
    status.close()


def test_an_end_that_nobody_tells_is_unknown() -> None:
    status, writing = EngineStatus.create()
    announce(writing, 1234)
    assert "unknown" in status.epitaph(0.0)
    os.close(writing)
    assert "unknown" in status.epitaph(10.0)
    status.close()


def test_a_daemon_with_thousands_of_descriptors_hears_of_its_engines_too() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, HIGH + 1), hard))
    reading, writing = os.pipe()
    status = EngineStatus(fcntl(reading, F_DUPFD_CLOEXEC, HIGH))
    announce(writing, 1234)
    assert status.os_pid == 1234
    status.close()
    os.close(reading)
    os.close(writing)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
