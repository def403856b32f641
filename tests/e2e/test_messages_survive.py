"""Messages and daemons that die, and mailboxes that are full: each test has a daemon of its own."""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

import pytest

import llmos
from tests.e2e.daemon_process import USER, Daemon, start_daemon, start_in
from tests.e2e.mail_clients import PATIENCE, gauge, in_thread, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

SMALL = ("engine.device=cpu", "engine.device_pages=8", 'engine.host_memory="64 MiB"', "messages.mailbox_messages=3000")


def test_every_acknowledged_send_is_received_over_a_kill_of_the_daemon_under_load(model: object) -> None:
    daemon = start_daemon(*SMALL)
    try:
        with daemon.connect() as system:
            pid = system.spawn().pid
            acknowledged, received = list[str](), list[tuple[str, int]]()
            enough = threading.Event()

            def send(worker: int) -> None:
                for number in count():
                    try:
                        system.messages.send(pid, "x" * 50, id=f"{worker}-{number}")
                    except llmos.Error:
                        return
                    acknowledged.append(f"{worker}-{number}")
                    if len(acknowledged) > 1500:
                        enough.set()

            def receive() -> None:
                while True:
                    try:
                        messages = system.messages.receive_many(20, pid=pid, lease=600.0)
                    except llmos.Error:
                        return
                    received.extend((str(message.id), message.number) for message in messages)

            threads = [in_thread(lambda n=worker: send(n)) for worker in range(8)] + [in_thread(receive)]  # type: ignore[misc] # a default binds the number
            assert enough.wait(PATIENCE)
            daemon.process.kill()
            daemon.process.wait()
            for thread in threads:
                thread.join(PATIENCE)
        daemon = start_in(daemon.home, *SMALL)
        with daemon.connect() as system:
            with pytest.raises(llmos.NoSuchProcess):
                system.process(pid).info()
            while messages := rest(system, pid):
                received.extend((str(message.id), message.number) for message in messages)
        assert set(acknowledged) <= {id for id, _ in received}
        assert len({number for _, number in received}) == len({id for id, _ in received})
        numbers = dict(received)
        for worker in range(8):
            mine = [numbers[f"{worker}-{n}"] for n in range(len(numbers)) if f"{worker}-{n}" in numbers]
            assert mine == sorted(mine)
    finally:
        daemon.destroy()


def rest(system: llmos.System, pid: int) -> list[llmos.Message]:
    """What is left in the mailbox."""
    try:
        return list(system.messages.receive_many(500, pid=pid, timeout=0))
    except (llmos.TimedOut, llmos.NoSuchProcess):
        return []


def test_a_full_mailbox_is_told_or_waited_for_in_order(model: object) -> None:
    daemon = start_daemon(*SMALL[:3], "messages.mailbox_messages=2")
    try:
        with daemon.connect() as system:
            process = system.spawn()
            process.send(0)
            process.send(1)
            with pytest.raises(llmos.TryAgain, match=r"messages\.mailbox_messages is 2"):
                process.send(2)
            with pytest.raises(llmos.TimedOut, match="is full"):
                process.send(2, timeout=0.1)
            sent = []
            for number in range(2, 8):
                sent.append(in_thread(lambda n=number: process.send(n, timeout=PATIENCE)))  # type: ignore[misc] # a default binds the number
                wait_until(lambda: gauge(system, "message_senders_waiting") == len(sent))
            assert [process.receive(timeout=PATIENCE).body for _ in range(8)] == list(range(8))
            for thread in sent:
                thread.join(PATIENCE)
            messages = system.messages
            messages.subscribe("news", pid=process.pid)
            assert [messages.publish("news", number) for number in range(3)] == [1, 1, 0]
            (dead,) = messages.receive_many(9, pid=process.pid, dead=True, timeout=PATIENCE)
            assert (dead.body, dead.dead) == (2, "the mailbox was full")
            process.kill()
            process.wait()
        daemon.stop()
    finally:
        daemon.destroy()


def test_one_sender_cannot_lock_the_others_out_of_a_mailbox(model: object, tmp_path: Path) -> None:
    daemon = start_daemon(*SMALL[:3], "messages.mailbox_messages=4")
    try:
        with daemon.connect() as system, daemon.connect(USER) as bob, ExitStack() as stack:
            carol, dave = (stack.enter_context(someone(daemon, system, name, tmp_path)) for name in ("carol", "dave"))
            process = bob.spawn()
            greedy, waits = carol.messages, list[int]()
            assert [greedy.send(process.pid, number) > 0 for number in range(2)] == [True, True]
            with pytest.raises(
                llmos.TryAgain, match=r"carol holds 2 messages in it and 2 are free.*one sender may hold"
            ):
                greedy.send(process.pid, 2)
            waiting = in_thread(lambda: waits.append(greedy.send(process.pid, 2, timeout=PATIENCE)))
            wait_until(lambda: gauge(system, "message_senders_waiting") == 1)
            assert dave.messages.send(process.pid, "from dave") > 0
            assert process.send("from its owner") > 0
            with pytest.raises(llmos.TryAgain, match=r"messages\.mailbox_messages is 4"):
                process.send("no room")
            assert waits == []
            assert [process.receive(timeout=PATIENCE).body for _ in range(5)] == [
                0,
                1,
                "from dave",
                "from its owner",
                2,
            ]
            waiting.join(PATIENCE)
            process.kill()
            process.wait()
        daemon.stop()
    finally:
        daemon.destroy()


def someone(daemon: Daemon, system: llmos.System, name: str, folder: Path) -> llmos.System:
    """A connection of somebody new."""
    system.keys.create(name, "developer", path=folder / f"{name}.key")
    return llmos.connect(daemon.endpoint, folder / f"{name}.key")


def test_nothing_is_acknowledged_that_a_full_disk_did_not_take_and_the_daemon_goes_on(model: object) -> None:
    daemon = start_daemon(*SMALL)
    try:
        with daemon.connect() as system:
            pid = system.spawn().pid
            acknowledged, refused, unexpected = set[str](), set[str](), list[llmos.Error]()
            stop = threading.Event()

            def send(worker: int) -> None:
                for number in count():
                    if stop.is_set():
                        return
                    try:
                        system.messages.send(pid, bytes(100_000), id=f"{worker}-{number}")
                        acknowledged.add(f"{worker}-{number}")
                    except llmos.DeviceError as error:
                        refused.add(f"{worker}-{number}")
                        if "database" not in error.message or error.hint != "llmosctl doctor":
                            unexpected.append(error)
                    except llmos.Error as error:
                        unexpected.append(error)
                        return

            threads = [in_thread(lambda n=worker: send(n)) for worker in range(4)]  # type: ignore[misc] # a default binds the number
            wait_until(lambda: system.info().processes == 1 and len(acknowledged) > 60)
            with file_size_limit(daemon.process.pid, 2 << 20):
                wait_until(lambda: system.info().processes == 1 and len(refused) > 40)
            before = len(acknowledged)
            wait_until(lambda: system.info().processes == 1 and len(acknowledged) > before + 40)
            stop.set()
            for thread in threads:
                thread.join(PATIENCE)
            assert unexpected == []
            received = list[str]()
            while messages := rest(system, pid):
                received.extend(str(message.id) for message in messages)
            assert sorted(received) == sorted(acknowledged)
            system.process(pid).kill()
            system.process(pid).wait()
        daemon.stop()
    finally:
        daemon.destroy()


@contextmanager
def file_size_limit(os_pid: int, size: int) -> Iterator[None]:
    """No file of an OS process can be written beyond so many bytes, as on a disk that is full."""
    before = resource.prlimit(os_pid, resource.RLIMIT_FSIZE)
    resource.prlimit(os_pid, resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.prlimit(os_pid, resource.RLIMIT_FSIZE, before)
