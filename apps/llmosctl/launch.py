"""Starting llmosd in the background, and waiting for a daemon's end: by events of the system, never by polling.

The daemon gets the writing end of a pipe (`--ready-fd`). It writes lines about its progress, and `ready` when it
serves; when the pipe ends before that, it has failed, and the end of its log says why.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from llmos.apps.llmosctl.failures import ExitCode, Failed
from llmos.apps.llmosctl.options import Options

DAEMON = "llmos.kernel.boot"
READY = "ready"
HINT = "hint: "
LOG_LINES_SHOWN = 12
_TICK_SECONDS = 0.5

Progress = Callable[[str, float], None]
"""Told what the daemon does now, and for how many seconds it has been starting."""


def start_daemon(options: Options, timeout: float, progress: Progress) -> int:
    """Start llmosd and return its process id when it is ready. Raises `Failed`."""
    log_begin = _prepare_log(options.log)
    reader, writer = os.pipe()
    with open(reader, "rb", buffering=0) as pipe:
        try:
            pid = _spawn(options, writer)
        finally:
            os.close(writer)
        try:
            ready = await_ready(pipe.fileno(), timeout, progress)
        except BaseException:
            _terminate(pid)
            raise
    if not ready:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        raise start_failure(options.log, log_begin, status)
    return pid


def _prepare_log(log: Path) -> int:
    """Make sure that the log can be written; gives its length."""
    try:
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with log.open("ab") as file:
            log.chmod(0o600)
            return file.tell()
    except OSError as error:
        raise Failed(f"{log} cannot be written: {error.strerror}", "name another home with --home") from None


def _spawn(options: Options, ready_fd: int) -> int:
    os.set_inheritable(ready_fd, True)
    command = [sys.executable, "-m", DAEMON, *options.daemon_arguments(), "--ready-fd", str(ready_fd)]
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.posix_spawn(
        sys.executable,
        command,
        options.child_environment(),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(options.log), append, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def await_ready(pipe: int, timeout: float, progress: Progress) -> bool:
    """Whether `ready` came before the end of the pipe. Raises `Failed` when neither came in time."""
    began = time.monotonic()
    poll = select.poll()
    poll.register(pipe, select.POLLIN | select.POLLHUP)
    doing, rest = "", b""
    while (elapsed := time.monotonic() - began) < timeout:
        progress(doing, elapsed)
        if not poll.poll(min(_TICK_SECONDS, timeout - elapsed) * 1000):
            continue
        data = os.read(pipe, 65_536)
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            doing = line.decode(errors="replace").strip()
            if doing == READY:
                return True
        if not data:
            return False
    raise Failed(
        f"llmosd is not ready after {timeout:g} s", "llmosctl up --timeout gives it longer", ExitCode.TIMED_OUT
    )


def _terminate(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


def start_failure(log: Path, log_begin: int, status: int) -> Failed:
    """Why a start failed, from what the daemon logged since; its own last hint is the hint."""
    with log.open("rb") as file:
        file.seek(log_begin)
        lines = file.read().decode(errors="replace").splitlines()
    hints = [line.removeprefix(HINT) for line in lines if line.startswith(HINT)]
    told = [line for line in lines if not line.startswith(HINT)]
    how = f"ended with status {status}" if status >= 0 else f"was killed by signal {-status}"
    shown = "".join(f"\n  {line}" for line in told[-LOG_LINES_SHOWN:])
    hint = hints[-1] if hints else f"the whole log is {log}; llmosctl doctor checks what llmosd needs"
    return Failed(f"llmosd {how} before it was ready{':' if shown else ''}{shown}", hint)


@contextmanager
def watched(os_pid: int) -> Iterator[Callable[[float], bool]]:
    """Watch a process that need not be a child; gives a function that waits for its end: did it come in time?"""
    try:
        descriptor = os.pidfd_open(os_pid)
    except ProcessLookupError:
        yield lambda _timeout: True
        return
    try:
        yield lambda timeout: _ended(descriptor, timeout)
    finally:
        os.close(descriptor)


def _ended(descriptor: int, timeout: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(timeout * 1000))
