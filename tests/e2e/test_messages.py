"""Messages through a real daemon: who gets what, who waits, and what is refused."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgpack
import pytest
import zmq

import llmos
from llmos.syscalls.abi.words import State
from llmos.syscalls.wire.keys import load_key
from tests.e2e.daemon_process import USER
from tests.e2e.house import House
from tests.e2e.mail_clients import PATIENCE, gauge, in_thread, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

PLAIN_CLIENT = """
import sys, tomllib, msgpack, zmq
endpoint, key_file, pid = sys.argv[1:]
key = tomllib.load(open(key_file, "rb"))
dealer = zmq.Context().socket(zmq.DEALER)
dealer.linger, dealer.rcvtimeo = 0, 60_000
dealer.curve_publickey, dealer.curve_secretkey = key["public"].encode(), key["secret"].encode()
dealer.curve_serverkey = key["server"].encode()
dealer.connect(endpoint)
args = {"pid": int(pid), "body": {"from": "a plain client"}, "tag": "plain"}
dealer.send(msgpack.packb({"v": 1, "id": 1, "call": "ipc.send", "args": args}))
print(msgpack.unpackb(dealer.recv())["ok"]["number"])
"""


def fails(error: type[llmos.Error], work: Callable[[], object]) -> None:
    """Wait for an error."""
    with pytest.raises(error):
        work()


def test_a_message_is_received_with_everything_that_was_said_about_it(roomy: House) -> None:
    to, by = roomy.spawn(), roomy.spawn()
    body = {"text": "héllo", "list": [1, 2.5, None, True], "bytes": b"\xc7\xd4", 7: "key"}
    number = roomy.system.messages.send(to.pid, body, id="first", tag="greeting", sender=by.pid)
    message = to.receive(timeout=PATIENCE)
    assert (message.number, message.pid, message.body) == (number, to.pid, body)
    assert (message.id, message.tag, message.sender) == ("first", "greeting", by.pid)
    assert (message.principal, message.deliveries, message.topic, message.dead) == ("admin", 1, None, "")
    assert roomy.system.messages.send(to.pid, body, id="first", sender=by.pid) == number
    with pytest.raises(llmos.TimedOut):
        to.receive(timeout=0)


def test_without_a_pid_any_of_ones_own_processes_gets_its_message_oldest_first(roomy: House) -> None:
    one, other = roomy.spawn(), roomy.spawn()
    one.send("1")
    other.send("2")
    one.send("3")
    assert [roomy.system.messages.receive(timeout=PATIENCE).body for _ in range(3)] == ["1", "2", "3"]


def test_a_process_that_waits_for_a_message_is_seen_to_wait_and_is_woken_by_it(roomy: House) -> None:
    process, got = roomy.spawn(), list[object]()
    thread = in_thread(lambda: got.append(process.receive(timeout=PATIENCE).body))
    wait_until(lambda: process.info().state is State.WAITING)
    assert process.info().waiting_for == "a message"
    process.send("wake up", tag="x")
    thread.join(PATIENCE)
    assert got == ["wake up"]
    assert process.info().waiting_for != "a message"


def test_several_receivers_get_different_messages_and_each_what_it_asked_for(roomy: House) -> None:
    process = roomy.spawn()
    with ThreadPoolExecutor(5) as pool:
        anything = [pool.submit(process.receive, PATIENCE) for _ in range(4)]
        tagged = pool.submit(process.receive, PATIENCE, tag="mine")
        wait_until(lambda: waiting(roomy) == 5)
        for number in range(4):
            process.send(number)
        assert {one.result().body for one in anything} == {0, 1, 2, 3}
        process.send("for you", tag="mine")
        assert tagged.result().body == "for you"


def waiting(house: House, name: str = "message_receivers_waiting") -> float:
    """How many wait, or are open."""
    return gauge(house.system, name)


def test_what_is_not_acknowledged_comes_again_and_says_so(roomy: House) -> None:
    process = roomy.spawn()
    process.send("work")
    first = process.receive(timeout=PATIENCE, lease=0.2, acknowledge=False)
    again = process.receive(timeout=PATIENCE, acknowledge=False)
    assert (first.number, first.deliveries) == (again.number, 1)
    assert again.deliveries == 2
    again.give_back()
    last = process.receive(timeout=PATIENCE, acknowledge=False)
    assert last.deliveries == 3
    last.acknowledge()
    info = roomy.system.messages.mailbox(process.pid)
    assert (info.waiting, info.taken, info.dead, info.bytes) == (0, 0, 0, 0)


def test_a_receiver_that_leaves_loses_nothing(roomy: House) -> None:
    process = roomy.spawn()
    with llmos.connect(roomy.daemon.endpoint, roomy.daemon.key()) as other:
        thread = in_thread(lambda: fails(llmos.DeviceError, other.process(process.pid).receive))
        wait_until(lambda: waiting(roomy) == 1)
    thread.join(PATIENCE)
    process.send("still here")
    assert process.receive(timeout=PATIENCE).body == "still here"
    wait_until(lambda: waiting(roomy) == 0)


def test_a_task_that_is_cancelled_while_it_receives_loses_nothing(roomy: House) -> None:
    process = roomy.spawn()

    async def cancel_and_receive() -> list[object]:
        async with llmos.aconnect(roomy.daemon.endpoint, roomy.daemon.key()) as system:
            mine, got = system.process(process.pid), list[object]()
            for number in range(20):
                receiving = asyncio.ensure_future(mine.receive(timeout=PATIENCE, lease=1.0))
                await asyncio.sleep(0)
                await mine.send(number)
                receiving.cancel()
                try:
                    got.append((await receiving).body)
                except asyncio.CancelledError:
                    got.append((await mine.receive(timeout=PATIENCE)).body)
            return got

    assert set(asyncio.run(cancel_and_receive())) == set(range(20))


def test_messages_of_a_process_that_has_exited_are_its_owners_still(roomy: House) -> None:
    process = roomy.spawn()
    process.send("late")
    thread = in_thread(lambda: fails(llmos.NoSuchProcess, lambda: process.receive(tag="never")))
    wait_until(lambda: waiting(roomy) == 1)
    process.kill()
    thread.join(PATIENCE)
    process.wait(PATIENCE)
    with pytest.raises(llmos.NoSuchProcess):
        process.info()
    with pytest.raises(llmos.NoSuchProcess):
        process.append("more")
    with roomy.daemon.connect(USER) as stranger:
        for refused in (stranger.process(process.pid).receive, stranger.process(process.pid).kill):
            with pytest.raises((llmos.PermissionDenied, llmos.NoSuchProcess)):
                refused()
        with pytest.raises(llmos.NoSuchProcess):
            stranger.process(process.pid).kill()
    assert process.receive(timeout=PATIENCE).body == "late"
    wait_until(lambda: gone(roomy, process.pid))


def gone(house: House, pid: int) -> bool:
    """Whether there is no such mailbox."""
    try:
        house.system.messages.mailbox(pid)
    except llmos.NoSuchProcess:
        return True
    return False


def test_topics_reach_mailboxes_and_streams_until_they_resign(roomy: House) -> None:
    process, messages = roomy.spawn(), roomy.system.messages
    messages.subscribe("news", pid=process.pid)
    messages.subscribe("news", pid=process.pid)
    assert messages.mailbox(process.pid).topics == ("admin/news",)
    with messages.subscribe("news") as stream, messages.subscribe("admin/news") as other:
        assert messages.publish("news", {"n": 1}) == 3
        for heard in (next(stream), next(other), process.receive(timeout=PATIENCE)):
            assert (heard.body, heard.topic) == ({"n": 1}, "admin/news")
    wait_until(lambda: waiting(roomy, "message_streams") == 0)
    messages.unsubscribe("news", process.pid)
    assert messages.publish("news", 2) == 0


def test_a_stream_that_is_not_read_ends_with_an_error_and_others_go_on(roomy: House) -> None:
    messages = roomy.system.messages
    with messages.subscribe("flood") as slow, messages.subscribe("flood") as quick:
        for number in range(400):
            messages.publish("flood", number)
            assert next(quick).body == number
        with pytest.raises(llmos.LimitExceeded, match=r"messages\.stream_messages is 256"):
            list(slow)
        with pytest.raises(StopIteration):
            next(slow)


def test_others_may_send_and_hear_but_not_receive_or_publish(roomy: House, tmp_path: Path) -> None:
    roomy.system.keys.create("carol", "developer", path=tmp_path / "carol.key")
    with (
        roomy.daemon.connect(USER) as bob,
        llmos.connect(roomy.daemon.endpoint, tmp_path / "carol.key") as carol,
    ):
        bobs, carols = bob.spawn(), carol.spawn()
        try:
            assert carol.messages.send(bobs.pid, "from carol", sender=carols.pid) > 0
            for denied in (
                lambda: carol.messages.receive(pid=bobs.pid, timeout=0),
                lambda: carol.messages.mailbox(bobs.pid),
                lambda: carol.messages.send(bobs.pid, "x", sender=bobs.pid),
                lambda: carol.messages.publish("bob/news", "x"),
                lambda: carol.messages.subscribe("bob/news", pid=bobs.pid),
            ):
                with pytest.raises(llmos.PermissionDenied):
                    denied()
            with carol.messages.subscribe("bob/news") as heard:
                carol.whoami()
                assert bob.messages.publish("news", "for all") == 1
                assert next(heard).principal == USER
            with pytest.raises(llmos.TimedOut):
                carol.messages.receive(timeout=0)
            message = bobs.receive(timeout=PATIENCE)
            assert (message.principal, message.sender) == ("carol", carols.pid)
            carol.messages.subscribe("bob/news", pid=carols.pid)
            assert bob.messages.publish("news", "still") == 1
            roomy.system.keys.revoke("carol")
            assert bob.messages.publish("news", "no more") == 0
        finally:
            for process in (bobs, carols):
                roomy.system.process(process.pid).kill()
                roomy.system.process(process.pid).wait()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"body": msgpack.ExtType(5, b"x")}, "no plain MessagePack"),
        ({"body": msgpack.Timestamp(1)}, "no plain MessagePack"),
        ({"body": 1, "sender": 0}, "sender"),
        ({"body": 1, "id": ""}, "id"),
        ({"body": 1, "tag": "x" * 129}, "tag"),
        ({"body": 1, "timeout": -1}, "timeout"),
        ({"body": 1, "nonsense": 1}, "nonsense"),
        ({}, "body"),
    ],
    ids=str,
)
def test_a_send_that_cannot_be_is_refused_in_words(roomy: House, arguments: dict[str, object], words: str) -> None:
    process = roomy.spawn()
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        key = load_key(roomy.daemon.key())
        dealer.linger, dealer.rcvtimeo = 0, 60_000
        dealer.curve_publickey, dealer.curve_secretkey = key.pair.public.encode(), key.pair.secret.encode()
        dealer.curve_serverkey = key.server.encode()
        dealer.connect(roomy.daemon.endpoint)
        dealer.send(msgpack.packb({"v": 1, "id": 1, "call": "ipc.send", "args": {"pid": process.pid, **arguments}}))
        answer = msgpack.unpackb(dealer.recv())
    assert answer["err"]["name"] == "EINVAL"
    assert words in answer["err"]["message"]
    assert roomy.system.messages.mailbox(process.pid).waiting == 0


def test_what_cannot_be_is_an_error_that_names_it(roomy: House) -> None:
    messages, process = roomy.system.messages, roomy.spawn()
    deep: object = 1
    for _ in range(33):
        deep = [deep]
    for wrong, error, words in (
        (lambda: messages.send(process.pid, object()), llmos.InvalidArgument, "cannot be sent"),
        (lambda: messages.send(process.pid, deep), llmos.InvalidArgument, "deeper than 32"),
        (lambda: messages.send(process.pid, b"x" * (1 << 20)), llmos.MessageTooLong, "the limit is 1048576"),
        (lambda: messages.send(1 << 40, "x"), llmos.NoSuchProcess, "no process has the pid"),
        (lambda: messages.send(process.pid, "x", sender=1 << 40), llmos.NoSuchProcess, "no process has the pid"),
        (lambda: messages.receive(pid=1 << 40), llmos.NoSuchProcess, "no process has the pid"),
        (lambda: messages.receive_many(0), llmos.InvalidArgument, "count"),
        (lambda: messages.receive(lease=0), llmos.InvalidArgument, "lease"),
        (lambda: messages.receive(topic="a/b/c"), llmos.InvalidArgument, "a/b"),
        (lambda: messages.publish("", "x"), llmos.InvalidArgument, "topic"),
        (lambda: messages.publish("no such!", "x"), llmos.InvalidArgument, "names no topic"),
        (lambda: messages.subscribe("news", pid=1 << 40), llmos.NoSuchProcess, "no process has the pid"),
        (lambda: messages.mailbox(0), llmos.InvalidArgument, "pid"),
    ):
        with pytest.raises(error, match=words):
            wrong()


def test_a_client_with_only_pyzmq_and_msgpack_sends_a_message(roomy: House) -> None:
    process = roomy.spawn()
    command = [sys.executable, "-c", PLAIN_CLIENT, roomy.daemon.endpoint, str(roomy.daemon.key()), str(process.pid)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    message = process.receive(timeout=PATIENCE)
    assert (message.number, message.body, message.tag) == (int(done.stdout), {"from": "a plain client"}, "plain")


def test_llmosctl_sends_receives_and_shows_mailboxes(roomy: House) -> None:
    process = str(roomy.spawn().pid)

    def ctl(*arguments: str) -> str:
        command = [sys.executable, "-m", "llmos.apps.llmosctl", "ipc", *arguments, "--home", str(roomy.daemon.home)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    number = ctl("send", process, '{"a": [1]}', "--tag", "t").strip()
    assert '"waiting": 1' in ctl("mailbox", process, "--json")
    received = ctl("recv", process, "--json")
    assert f'"number": {number}' in received
    ctl("subscribe", "ctl", "--pid", process)
    assert ctl("publish", "ctl", "hello there") == "1\n"
    assert ctl("recv", "--timeout", "10") == "hello there\n"
    ctl("subscribe", "ctl", "--pid", process, "--off")
    assert ctl("publish", "ctl", "nobody") == "0\n"
