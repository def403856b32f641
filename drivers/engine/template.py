"""The process that engines are forked from: `python -m ... CONTROL HOST DIRECTORY`.

It imports what every engine needs (many seconds), then forks an engine for every order that comes over the
control socket, tells on the engine's status pipe its pid and how it ended, and kills what is left when its
launcher is gone.

Rules: one thread, and never a call into CUDA, or its children could not use either.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection
from select import select

import msgspec

from llmos.drivers.engine.settings import EngineSettings
from llmos.drivers.engine.status import announce

_ORDERS = msgspec.msgpack.Decoder(EngineSettings)
_ORDER_BYTES = 65536
_LOOK_SECONDS = 0.2
_PARENT_DEATH_SIGNAL = 1


def main(arguments: list[str]) -> None:
    """Serve orders until the launcher is gone."""
    control = socket.socket(fileno=int(arguments[0]))
    with _leaving_when_orphaned(control):
        _preload(arguments[2])
    Template(control, int(arguments[1])).serve()


class Template:
    """Forks engines and watches over them."""

    def __init__(self, control: socket.socket, host: int) -> None:
        self._control = control
        self._host = host
        self._statuses: dict[int, int] = {}
        self._wake, self._woken = socket.socketpair()

    def serve(self) -> None:
        """Serve orders until the launcher is gone, then end every engine."""
        self._watch_children()
        while True:
            ready, _, _ = select([self._control, self._wake], [], [])
            if self._wake in ready:
                self._wake.recv(4096)
                self._bury()
            if self._control in ready and not self._take_order():
                break
        for os_pid in self._statuses:
            os.kill(os_pid, signal.SIGKILL)
        for os_pid in self._statuses:
            os.waitpid(os_pid, 0)

    def _watch_children(self) -> None:
        self._wake.setblocking(False)
        self._woken.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self._woken.fileno(), warn_on_full_buffer=False)

    def _take_order(self) -> bool:
        """Fork one engine; false when there will be no more orders."""
        order, descriptors, _, _ = socket.recv_fds(self._control, _ORDER_BYTES, 2)
        if not order:
            return False
        channel, status = descriptors
        if _hung_up(channel):
            os.close(status)
        else:
            self._fork(_ORDERS.decode(order), channel, status)
        os.close(channel)
        return True

    def _fork(self, settings: EngineSettings, channel: int, status: int) -> None:
        os_pid = os.fork()
        if os_pid == 0:
            self._become_engine(settings, channel, status)
        self._statuses[os_pid] = status
        announce(status, os_pid)

    def _become_engine(self, settings: EngineSettings, channel: int, status: int) -> None:
        """Never returns."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _die_with_parent()
        for end in (self._control, self._wake, self._woken):
            end.close()
        for descriptor in (status, *self._statuses.values()):
            os.close(descriptor)
        from llmos.drivers.engine.worker import run_engine

        run_engine(settings, Connection(channel), self._host)

    def _bury(self) -> None:
        for os_pid in list(self._statuses):
            found, wait_status = os.waitpid(os_pid, os.WNOHANG)
            if found:
                status = self._statuses.pop(os_pid)
                announce(status, os.waitstatus_to_exitcode(wait_status))
                os.close(status)


def _preload(directory: str) -> None:
    from llmos.drivers.engine.worker import preload

    preload(directory)


@contextlib.contextmanager
def _leaving_when_orphaned(control: socket.socket) -> Iterator[None]:
    """Imports cannot wait on a socket: look at it from a timer, so that a launcher that gave up is noticed."""

    def look(number: int, frame: object) -> None:
        if _hung_up(control.fileno()):
            os._exit(0)

    signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, _LOOK_SECONDS, _LOOK_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _hung_up(descriptor: int) -> bool:
    """Whether the other end of a socket is closed, without taking anything from it."""
    with socket.socket(fileno=os.dup(descriptor)) as looked_at:
        try:
            return not looked_at.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False


def _die_with_parent() -> None:
    """Have the system kill this process when the template dies; where it cannot, the closed channel ends it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
