"""Binding the gate's socket: what an endpoint must look like, and what to do with a socket file that is there
already.

Rules: a socket file is made with mode 0600; a stale one is replaced, one that somebody answers on is not,
and anything that is no socket is never touched.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

import zmq
from zmq.utils.monitor import recv_monitor_message

from llmos.syscalls.abi.errors import Busy, InvalidArgument
from llmos.syscalls.wire.home import MAX_IPC_PATH

_IPC = "ipc://"

_CLOSED_MILLISECONDS = 1_000
"""How long a port may take to become free; it takes none."""


def bind(router: zmq.Socket[bytes], endpoint: str) -> str:
    """Bind; the endpoint as clients name it (a port `*` resolved).

    Raises `InvalidArgument` for an endpoint that cannot be, `Busy` for one that is taken.
    """
    if endpoint.startswith(_IPC):
        return _bind_ipc(router, Path(endpoint.removeprefix(_IPC)))
    if not endpoint.startswith("tcp://"):
        raise InvalidArgument(f"wire.listen: {endpoint!r} is no endpoint", "ipc://PATH or tcp://HOST:PORT")
    return _bind(router, endpoint)


def bind_again(router: zmq.Socket[bytes], endpoint: str) -> str:
    """Bind an endpoint of this socket once more, so that new connections get what the socket is set to now.

    Connections through a socket file go on; those over TCP end, because a port has one listener and takes its
    connections with it. Raises `Busy` when somebody else has taken the port meanwhile.
    """
    if not endpoint.startswith(_IPC):
        _unbind(router, endpoint)
        return _bind(router, endpoint)
    path = Path(endpoint.removeprefix(_IPC))
    path.unlink(missing_ok=True)
    return _bind_file(router, path)


def remove_file(endpoint: str) -> None:
    """Remove the socket file of an endpoint that was bound and is closed, if it has one."""
    if endpoint.startswith(_IPC):
        Path(endpoint.removeprefix(_IPC)).unlink(missing_ok=True)


def _bind_ipc(router: zmq.Socket[bytes], path: Path) -> str:
    if len(os.fsencode(path)) > MAX_IPC_PATH:
        raise InvalidArgument(
            f"the path of the socket, {path}, is longer than {MAX_IPC_PATH} bytes", "choose a shorter one"
        )
    if not path.parent.is_dir():
        raise InvalidArgument(f"there is no folder {path.parent} for the socket {path.name}")
    _make_way(path)
    return _bind_file(router, path)


def _unbind(router: zmq.Socket[bytes], endpoint: str) -> None:
    """Stop listening, and wait until the port is free: the socket's own thread closes it, in a moment."""
    monitor = router.get_monitor_socket(zmq.EVENT_CLOSED)
    try:
        router.unbind(endpoint)
        while monitor.poll(_CLOSED_MILLISECONDS):
            if recv_monitor_message(monitor)["endpoint"] == endpoint.encode():
                return
    except zmq.ZMQError as error:
        # Not bound: an earlier try got as far as here.
        if error.errno != errno.ENOENT:
            raise
    finally:
        router.disable_monitor()


def _bind_file(router: zmq.Socket[bytes], path: Path) -> str:
    mask = os.umask(0o177)
    try:
        return _bind(router, f"{_IPC}{path}")
    finally:
        os.umask(mask)


def _bind(router: zmq.Socket[bytes], endpoint: str) -> str:
    try:
        router.bind(endpoint)
    except zmq.ZMQError as error:
        if error.errno == zmq.EADDRINUSE:
            raise Busy(f"{endpoint} is taken", "another daemon listens there; see wire.listen") from None
        raise InvalidArgument(f"cannot listen on {endpoint}: {error.strerror}", "see wire.listen") from None
    return router.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")


def _make_way(path: Path) -> None:
    """Remove a socket file that nobody answers on."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise InvalidArgument(f"{path} is there and is no socket", "move it away or choose another path")
    if _answers(path):
        raise Busy(f"somebody listens on {path} already", "stop that daemon, or choose another path")
    path.unlink(missing_ok=True)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
    return True
