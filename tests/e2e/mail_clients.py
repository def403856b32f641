"""What tests of messages do again and again."""

from __future__ import annotations

import threading
from collections.abc import Callable

import llmos

PATIENCE = 60.0


def in_thread(work: Callable[[], object]) -> threading.Thread:
    """Begin something that waits."""
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def wait_until(happened: Callable[[], bool]) -> None:
    """Ask the daemon again and again: each question is a call that takes its time."""
    assert any(happened() for _ in range(20_000))


def gauge(system: llmos.System, name: str) -> float:
    """A gauge of the daemon."""
    return next(metric.value for metric in system.metrics() if metric.name == name)
