"""The gate over real sockets: who gets in, what comes back, and that one client's fault costs nobody else."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq
from zmq.utils.monitor import recv_monitor_message

from llmos.kernel.gate.accounts import Bounds
from llmos.kernel.gate.channel import Ending
from llmos.kernel.security.identity.keyring import Keyring
from llmos.syscalls.abi import messages as m
from llmos.syscalls.abi.errors import Busy, Errno, InvalidArgument
from llmos.syscalls.abi.words import FinishReason
from llmos.syscalls.wire.codec import decode_record, encode_call, encode_cancel, encode_credit
from llmos.syscalls.wire.frames import MAX_FRAME, NO_CALL, ErrorFrame, EventFrame, OkFrame, ReplyFrame
from llmos.syscalls.wire.keys import Key, load_key, new_keypair
from tests.unit.gate_house import ALICES, BOBS, PATIENCE, Client, House, descriptors, gate_house

Connect = Callable[[House, Key], Client]
EAGER = Bounds(ping_seconds=0.05)


@pytest.fixture(autouse=True)
def _nothing_is_left_open() -> Iterator[None]:
    before, threads = descriptors(), threading.active_count()
    yield
    assert descriptors() == before
    assert threading.active_count() == threads


def admin(house: House) -> Key:
    return load_key(house.folder / "keys" / "admin.key")


def number(frame: ReplyFrame) -> int:
    assert isinstance(frame, ErrorFrame), frame
    return frame.err.number


def serves(client: Client, id: int = 999) -> bool:
    client.call(id, "sys.info")
    frame = client.read()
    return isinstance(frame, OkFrame) and frame.id == id


def stream(pid: int, tokens: int, window: int, endless: bool = False) -> m.Generate:
    return m.Generate(pid, m.Sampling(max_tokens=tokens, seed=1 if endless else None), window)


def test_a_call_is_answered_to_its_principal(tmp_path: Path, connect: Connect) -> None:
    with gate_house(tmp_path) as house:
        alice, bob = connect(house, house.key("alice")), connect(house, house.key("bob"))
        assert serves(alice)
        assert serves(bob)
        assert house.kernel.callers == ["alice", "bob"]
        alice.call(1, "proc.wait", m.Wait(BOBS))
        refused = alice.read()
        assert isinstance(refused, ErrorFrame)
        assert refused.err.number == Errno.EPERM
        for word in ("alice", "proc.wait", "proc:/bob/6", "role developer", "admin"):
            assert word in refused.err.message
        alice.call(2, "proc.wait", m.Wait(77))
        assert number(alice.read()) == Errno.ESRCH
        alice.call(3, "sys.shutdown")
        assert number(alice.read()) == Errno.EPERM
        assert not house.bugs


def test_a_wrong_key_is_refused_at_once(tmp_path: Path) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with gate_house(tmp_path) as house:
        unknown = Key("mallory", new_keypair(), house.keyring.server.pair.public)
        dealer = context.socket(zmq.DEALER)
        events = dealer.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH)
        dealer.curve_publickey, dealer.curve_secretkey = unknown.pair.public.encode(), unknown.pair.secret.encode()
        dealer.curve_serverkey = unknown.server.encode()
        dealer.connect(house.endpoint)
        assert events.poll(PATIENCE)
        assert recv_monitor_message(events)["value"] == 400
        dealer.disable_monitor()
        events.close(0)
        dealer.close(0)
        context.term()
        assert house.kernel.callers == []


def test_a_key_made_while_the_gate_serves_works_at_once(tmp_path: Path, connect: Connect) -> None:
    with gate_house(tmp_path) as house:
        other = Keyring.open(tmp_path / "keys")
        assert serves(connect(house, load_key(other.create("carol", "developer"))))


def test_the_callers_faults_are_answers(tmp_path: Path, connect: Connect) -> None:
    with gate_house(tmp_path) as house:
        client = connect(house, admin(house))
        client.socket.send(b"\x84\xa1v\x01\xa2id\x07\xa4call\xaano.suchone\xa4args\x80")
        frame = client.read()
        assert number(frame) == Errno.ENOSYS
        assert isinstance(frame, ErrorFrame)
        assert frame.id == 7
        client.call(8, "sys.drain", m.Drain())
        assert number(client.read()) == Errno.EBUSY
        client.call(9, "proc.wait", m.Wait(ALICES))
        client.call(9, "sys.info")
        assert number(client.read()) == Errno.EINVAL
        client.socket.send(encode_call(10, "proc.wait", m.Nothing()))
        assert number(client.read()) == Errno.EINVAL
        client.socket.send(encode_cancel(9))
        assert number(client.read()) == Errno.ECANCELED
        assert house.kernel.endings == [Ending.CANCELLED]
        assert serves(client)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        os.urandom(200),
        encode_call(1, "sys.info", m.Nothing())[:-3],
        b"\xdf\xff\xff\xff\xff",
        b"\x91" * 5000,
    ],
    ids=["empty", "never used byte", "random", "truncated", "lying header", "deep"],
)
def test_a_bad_frame_is_refused_and_costs_nobody_else(tmp_path: Path, connect: Connect, data: bytes) -> None:
    with gate_house(tmp_path) as house:
        bad, good = connect(house, admin(house)), connect(house, house.key("alice"))
        bad.socket.send(data)
        assert number(bad.read()) == Errno.EPROTO
        assert serves(bad)
        assert serves(good)


def test_a_message_of_several_frames_is_refused(tmp_path: Path, connect: Connect) -> None:
    with gate_house(tmp_path) as house:
        client = connect(house, admin(house))
        client.socket.send_multipart([b"a", b"b", b"c"])
        assert number(client.read()) == Errno.EPROTO
        assert serves(client)


def test_a_frame_over_the_limit_gets_an_error_and_a_huge_one_ends_its_connection(
    tmp_path: Path, connect: Connect
) -> None:
    with gate_house(tmp_path, EAGER) as house:
        client, other = connect(house, admin(house)), connect(house, house.key("alice"))
        client.socket.send(b"x" * (MAX_FRAME + 1))
        assert number(client.read()) == Errno.EMSGSIZE
        other.call(1, "proc.wait", m.Wait(ALICES))
        client.call(1, "gen.generate", stream(ALICES, 5, 0))
        client.socket.send(b"x" * (3 * MAX_FRAME))
        assert house.kernel.ended.wait(10)
        assert house.kernel.endings == [Ending.GONE]
        assert serves(other)


def test_a_client_of_many_bad_frames_is_ignored_for_a_while(tmp_path: Path, connect: Connect) -> None:
    with gate_house(tmp_path, Bounds(strikes=3, ignored_seconds=0.3)) as house:
        bad, good = connect(house, admin(house)), connect(house, house.key("alice"))
        for _ in range(3):
            bad.socket.send(b"nonsense")
            assert number(bad.read()) == Errno.EPROTO
        for id in (1, 2):
            frame = bad.read()
            assert isinstance(frame, ErrorFrame)
            assert (frame.id, number(frame)) == (NO_CALL, Errno.EAGAIN)
            bad.call(id, "sys.info")
        assert serves(good)
        while isinstance(bad.read(), ErrorFrame):
            bad.call(3, "sys.info")
        assert serves(bad)


def test_a_client_may_not_choose_its_routing_id(tmp_path: Path, connect: Connect) -> None:
    with gate_house(tmp_path) as house:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        key = admin(house)
        dealer = context.socket(zmq.DEALER)
        dealer.routing_id = b"somebody"
        dealer.curve_publickey, dealer.curve_secretkey = key.pair.public.encode(), key.pair.secret.encode()
        dealer.curve_serverkey = key.server.encode()
        dealer.connect(house.endpoint)
        dealer.send(encode_call(1, "sys.info", m.Nothing()))
        assert dealer.poll(PATIENCE)
        assert b"EPROTO" in dealer.recv()
        dealer.close(0)
        context.term()
        assert serves(connect(house, key))


def test_a_stream_sends_no_more_than_its_credit(tmp_path: Path, connect: Connect) -> None:
    with gate_house(tmp_path) as house:
        client = connect(house, admin(house))
        client.call(1, "gen.generate", stream(ALICES, 10, 3))
        assert all(isinstance(client.read(), EventFrame) for _ in range(3))
        assert serves(client)
        assert house.kernel.sent == 3
        client.socket.send(encode_credit(1, 100))
        assert all(isinstance(client.read(), EventFrame) for _ in range(7))
        assert isinstance(client.read(), OkFrame)
        client.socket.send(encode_credit(1, 100))
        assert serves(client)


def test_a_cancelled_stream_ends_with_the_handlers_own_answer(tmp_path: Path, connect: Connect) -> None:
    with gate_house(tmp_path) as house:
        client = connect(house, admin(house))
        client.call(1, "gen.generate", stream(ALICES, 10, 2))
        assert all(isinstance(client.read(), EventFrame) for _ in range(2))
        client.socket.send(encode_cancel(1))
        frame = client.read()
        assert isinstance(frame, OkFrame)
        assert decode_record(m.Generated, frame.ok).finish_reason is FinishReason.CANCELLED
        client.socket.send(encode_cancel(1))
        assert serves(client)
        assert house.in_loop("calls") == 0


def test_a_call_that_takes_too_long_times_out(tmp_path: Path, connect: Connect) -> None:
    with gate_house(tmp_path) as house:
        client = connect(house, admin(house))
        client.call(1, "proc.wait", m.Wait(ALICES), timeout=0.05)
        assert number(client.read()) == Errno.ETIMEDOUT
        assert house.kernel.endings == [Ending.TIMED_OUT]
        assert house.in_loop("calls") == 0


def test_a_client_with_an_open_call_gets_signs_of_life(tmp_path: Path, connect: Connect) -> None:
    with gate_house(tmp_path, EAGER) as house:
        waiting, idle = connect(house, admin(house)), connect(house, house.key("alice"))
        assert serves(idle)
        waiting.call(1, "proc.wait", m.Wait(ALICES))
        waiting.wait_for_ping()
        waiting.wait_for_ping()
        assert idle.silent(10)


@pytest.mark.parametrize("what", ["waits", "streams"])
def test_the_calls_of_a_client_that_vanished_end(tmp_path: Path, connect: Connect, what: str) -> None:
    with gate_house(tmp_path, EAGER) as house:
        client = connect(house, admin(house))
        if what == "waits":
            client.call(1, "proc.wait", m.Wait(ALICES))
            client.wait_for_ping()
        else:
            client.call(1, "gen.generate", stream(ALICES, 1, 64, endless=True))
            assert isinstance(client.read(), EventFrame)
        client.socket.close(0)
        assert house.kernel.ended.wait(10)
        assert house.kernel.endings == [Ending.GONE]
        assert house.in_loop("calls") == 0


def test_a_client_that_stops_reading_loses_its_calls_and_hears_so(tmp_path: Path, connect: Connect) -> None:
    bounds = Bounds(queued_messages=8, backlog_bytes=4 << 20)
    with gate_house(tmp_path, bounds) as house:
        slow, good = connect(house, admin(house)), connect(house, house.key("alice"))
        slow.call(1, "proc.wait", m.Wait(ALICES))
        id = 1
        while not house.kernel.ended.is_set():
            id += 1
            slow.call(id, "sys.metrics")
            assert serves(good, id)
        assert house.kernel.endings == [Ending.GONE]
        frames = {frame.id: frame for frame in (slow.read() for _ in range(id))}
        assert set(frames) == set(range(1, id + 1))
        assert number(frames[1]) == Errno.EAGAIN
        assert isinstance(frames[2], OkFrame)
        assert serves(slow, id + 1)


def test_a_reader_that_is_merely_slow_loses_nothing_and_keeps_the_order(tmp_path: Path, connect: Connect) -> None:
    with gate_house(tmp_path, Bounds(queued_messages=2, backlog_bytes=64 << 20)) as house:
        client = connect(house, admin(house))
        for id in range(1, 31):
            client.call(id, "sys.metrics")
        while len(house.kernel.callers) < 30:
            assert serves(connect(house, admin(house)))
        assert [client.read().id for _ in range(30)] == list(range(1, 31))


def test_the_calls_in_progress_of_a_client_are_bounded(tmp_path: Path, connect: Connect) -> None:
    with gate_house(tmp_path, Bounds(calls=3)) as house:
        client = connect(house, admin(house))
        for id in range(1, 5):
            client.call(id, "proc.wait", m.Wait(ALICES))
        frame = client.read()
        assert number(frame) == Errno.EAGAIN
        assert isinstance(frame, ErrorFrame)
        assert frame.id == 4
        assert house.in_loop("calls") == 3


def test_closing_answers_what_is_open(tmp_path: Path, connect: Connect) -> None:
    with gate_house(tmp_path) as house:
        client = connect(house, admin(house))
        client.call(1, "proc.wait", m.Wait(ALICES))
        assert serves(client)
    assert number(client.read()) == Errno.EAGAIN
    assert house.kernel.endings == [Ending.CLOSING]


def test_a_kernel_bug_reaches_the_loops_exception_handler(tmp_path: Path, connect: Connect) -> None:
    with gate_house(tmp_path) as house:
        client = connect(house, admin(house))
        client.call(1, "proc.info", m.OnProcess(ALICES))
        assert serves(client)
        assert house.bugs == ["a bug"]


def test_the_socket_is_for_its_owner_alone_and_stale_ones_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "kernel.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with gate_house(tmp_path) as house:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with pytest.raises(Busy):
            house.gate.open([house.endpoint])


def test_a_file_that_is_no_socket_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "kernel.sock").write_text("precious")
    with pytest.raises(InvalidArgument), gate_house(tmp_path):
        pass
    assert (tmp_path / "kernel.sock").read_text() == "precious"


def test_a_flood_of_wrong_keys_leaves_others_served(tmp_path: Path, connect: Connect) -> None:
    with gate_house(tmp_path) as house:
        good = connect(house, admin(house))
        strangers = [connect(house, Key("mallory", new_keypair(), house.keyring.server.pair.public)) for _ in range(20)]
        for id in range(1, 200):
            assert serves(good, id)
        assert all(stranger.silent(0) for stranger in strangers)
        assert set(house.kernel.callers) == {"admin"}


def test_an_error_whose_call_is_unknown_has_the_id_zero(tmp_path: Path, connect: Connect) -> None:
    with gate_house(tmp_path) as house:
        client = connect(house, admin(house))
        client.call(4, "proc.wait", m.Wait(ALICES))
        client.socket.send(b"\x82\xa2id\x04\xa1v\x01")
        frame = client.read()
        assert isinstance(frame, ErrorFrame)
        assert frame.id == NO_CALL
        assert house.in_loop("calls") == 1
