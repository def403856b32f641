"""Does what programs do with Python's standard library, and prints what of it failed, with the error.

`numpy` and `scipy` as arguments have these do some work, too.
"""

import asyncio
import concurrent.futures
import ctypes
import json
import mmap
import multiprocessing
import os
import random
import secrets
import select
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path


def threads() -> None:
    done = threading.Event()
    threading.Thread(target=done.set).start()
    assert done.wait(30)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(len, ["ab"] * 100)) == 200


def processes() -> None:
    said = subprocess.run(["/bin/cat"], input=b"said", capture_output=True, check=True)
    assert said.stdout == b"said"
    assert subprocess.run("exit 3", shell=True).returncode == 3
    child = os.fork()
    if child == 0:
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert os.posix_spawn("/bin/true", ["true"], {}) > 0
    os.wait()


def many_processes() -> None:
    context = multiprocessing.get_context("fork")
    with context.Pool(2) as pool:
        assert pool.map(abs, range(-4, 0)) == [4, 3, 2, 1]
    queue, lock, number = context.Queue(), context.Lock(), context.Value("i", 3)
    with lock:
        queue.put(number.value)
    assert queue.get(timeout=30) == 3
    with concurrent.futures.ProcessPoolExecutor(2, context) as pool:
        assert list(pool.map(abs, [-1])) == [1]


def shared_memory() -> None:
    from multiprocessing import shared_memory

    block = shared_memory.SharedMemory(create=True, size=4096)
    assert block.buf is not None
    block.buf[0] = 7
    block.close()
    block.unlink()


def loops() -> None:
    async def work() -> None:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        writer.close()
        server.close()
        child = await asyncio.create_subprocess_exec("/bin/echo", "said", stdout=asyncio.subprocess.PIPE)
        assert (await child.communicate())[0] == b"said\n"
        await asyncio.to_thread(time.sleep, 0.001)

    asyncio.run(work())


def databases() -> None:
    for path in (":memory:", "/tmp/database"):
        with sqlite3.connect(path) as base:
            base.execute("pragma journal_mode=wal")
            base.execute("create table t (x)")
            base.executemany("insert into t values (?)", [(x,) for x in range(1000)])
            assert base.execute("select sum(x) from t").fetchone() == (499_500,)


def files() -> None:
    with tempfile.TemporaryDirectory() as folder, tempfile.NamedTemporaryFile() as named, tempfile.TemporaryFile() as f:
        place = Path(folder, "file")
        place.write_bytes(b"x" * 100_000)
        shutil.copy2(place, Path(folder, "copy"))
        shutil.copytree(folder, Path(folder + ".tree"))
        shutil.rmtree(folder + ".tree")
        os.link(place, Path(folder, "link"))
        os.symlink(place, Path(folder, "soft"))
        os.rename(place, Path(folder, "other"))
        os.truncate(named.name, 100)
        os.utime(named.name)
        os.chmod(named.name, 0o600)
        f.write(b"y")
        f.flush()
        os.fsync(f.fileno())
        os.posix_fallocate(f.fileno(), 0, 4096)
        assert sorted(os.listdir(folder)) == ["copy", "link", "other", "soft"]
        assert os.statvfs(folder).f_bsize
        os.pwritev(f.fileno(), [b"a", b"b"], 0)
        assert os.pread(f.fileno(), 2, 0) == b"ab"
        import fcntl

        fcntl.flock(f, fcntl.LOCK_EX)
        fcntl.lockf(f, fcntl.LOCK_UN)


def maps() -> None:
    with tempfile.TemporaryFile() as file:
        file.truncate(8192)
        with mmap.mmap(file.fileno(), 8192) as mapped:
            mapped[:2] = b"ab"
            mapped.flush()
            mapped.madvise(mmap.MADV_WILLNEED)
            mapped.resize(4096)
    mmap.mmap(-1, 1 << 20).close()


def signals() -> None:
    got: list[int] = []
    signal.signal(signal.SIGUSR1, lambda number, frame: got.append(number))
    os.kill(os.getpid(), signal.SIGUSR1)
    signal.setitimer(signal.ITIMER_REAL, 60)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    signal.raise_signal(signal.SIGUSR2)
    assert signal.sigtimedwait([signal.SIGUSR2], 30) is not None
    assert got == [signal.SIGUSR1]


def waiting() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"x")
    assert select.select([reader], [], [], 30)[0] == [reader]
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    assert poll.poll(30_000)
    with select.epoll() as epoll:
        epoll.register(reader, select.EPOLLIN)
        assert epoll.poll(30)
    libc = ctypes.CDLL(None, use_errno=True)
    watching = libc.inotify_init1(0)
    assert watching >= 0
    assert libc.inotify_add_watch(watching, b"/tmp", 0x100) >= 0
    Path("/tmp/seen").write_text("")
    assert os.read(watching, 4096)
    assert libc.eventfd(0, 0) >= 0
    assert libc.timerfd_create(1, 0) >= 0


def sockets() -> None:
    one, other = socket.socketpair()
    one.sendall(b"said")
    assert other.recv(10) == b"said"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("/tmp/socket")
        server.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect("/tmp/socket")
    socket.send_fds(one, [b"fd"], [0])
    assert ssl.create_default_context().verify_mode == ssl.CERT_REQUIRED
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", 0))


def chance() -> None:
    assert len(secrets.token_bytes(16)) == len(os.urandom(16)) == 16
    random.seed()
    assert os.cpu_count()
    assert os.sched_getaffinity(0)
    os.nice(1)


def sdk() -> None:
    import llmos

    with llmos.connect() as system:
        system.files.write_bytes("ordinary", b"work")
        assert system.files.read_bytes("ordinary") == b"work"
        system.files.unlink("ordinary")
        system.memory.list()

    async def work() -> None:
        async with await llmos.aconnect() as system:
            await system.whoami()

    asyncio.run(work())


def with_numpy() -> None:
    import numpy

    matrix = numpy.random.default_rng(0).random((300, 300))
    assert numpy.linalg.svd(matrix @ matrix.T)[1][0] > 0
    numpy.save("/tmp/matrix.npy", matrix)
    assert numpy.load("/tmp/matrix.npy", mmap_mode="r").shape == (300, 300)


def with_scipy() -> None:
    from scipy import optimize, sparse
    from scipy.sparse.linalg import eigsh

    assert abs(optimize.minimize(lambda x: (x[0] - 3) ** 2, [0.0]).x[0] - 3) < 1e-3
    assert eigsh(sparse.identity(50), k=2)[0][0] > 0


WORK: list[Callable[[], None]] = [
    *(threads, processes, many_processes, shared_memory, loops, databases, files, maps, signals, waiting, sockets),
    *(chance, sdk),
]
PACKAGES = {"numpy": with_numpy, "scipy": with_scipy}


def main() -> None:
    failed = {}
    for work in [*WORK, *(PACKAGES[name] for name in sys.argv[1:])]:
        try:
            work()
        except (AssertionError, AttributeError, ImportError, OSError, RuntimeError, ValueError, sqlite3.Error):
            failed[work.__name__] = traceback.format_exc()
    json.dump(failed, sys.stdout)


if __name__ == "__main__":
    main()
