"""Bad input over real sockets: each gets a clear error, and a generation beside it notices nothing."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

import llmos
from llmos.syscalls.wire.keys import Key, load_key, new_keypair, save_key
from tests.e2e.daemon_process import USER
from tests.e2e.greedy_reference import Reference, ties
from tests.e2e.house import House, greedy
from tests.e2e.raw_client import RawClient, error_name, packed, raw_client

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.fixture(autouse=True)
def bystander(roomy: House, reference: Reference) -> Iterator[None]:
    """Somebody else, who generates all the time of a test and must not notice anything of it."""
    wanted = reference.varied[-1]
    _, generation = roomy.begin(wanted)
    yield
    assert ties(wanted, generation.result().token_ids) <= 1


@pytest.fixture
def raw(roomy: House) -> Iterator[RawClient]:
    """A client that may say anything, with the administrator's key."""
    with raw_client(roomy.daemon.endpoint, roomy.daemon.key()) as client:
        yield client


WRONG_ARGUMENTS: tuple[tuple[str, object], ...] = (
    ("proc.spawn", {"priority": "urgent"}),
    ("proc.spawn", {"priority": 3}),
    ("proc.spawn", {"weight": 0}),
    ("proc.spawn", {"weight": True}),
    ("proc.spawn", {"name": "x" * 200}),
    ("proc.spawn", {"colour": "green"}),
    ("proc.spawn", []),
    ("proc.spawn", None),
    ("proc.spawn", "smollm2:135m"),
    ("proc.info", {"pid": "7"}),
    ("proc.info", {"pid": -1}),
    ("proc.info", {"pid": 1 << 60}),
    ("proc.info", {}),
    ("proc.limits", {"pid": 2, "limits": {"context_tokens": "many"}}),
    ("ctx.append", {"pid": 2, "tokens": [1, "two", 3]}),
    ("ctx.append", {"pid": 2, "tokens": [-1]}),
    ("ctx.append", {"pid": 2, "messages": [{"role": "king", "content": "x"}]}),
    ("gen.generate", {"pid": 2, "sampling": {"temperature": -1}}),
    ("gen.generate", {"pid": 2, "sampling": {"top_p": 2.0}}),
    ("gen.generate", {"pid": 2, "window": -1}),
)


def test_wrong_types_and_unknown_fields_are_invalid_arguments(raw: RawClient) -> None:
    answers = {(call, repr(arguments)): raw.error(call, arguments) for call, arguments in WRONG_ARGUMENTS}
    assert answers == dict.fromkeys(answers, "EINVAL")
    assert "ok" in raw.call("sys.info", {})


def test_unknown_calls_are_not_supported(raw: RawClient) -> None:
    for name in ("proc.destroy", "", "sys", "__class__", "PROC.SPAWN", "proc.spawn "):
        assert raw.error(name, {}) == "ENOSYS"
    for strange in (7, None, ["proc.spawn"]):
        assert raw.error(strange, {}) == "EPROTO"
    assert "ok" in raw.call("sys.info", {})


def test_frames_that_are_no_messages_get_a_protocol_error(raw: RawClient) -> None:
    whole = packed({"v": 1, "id": 1000, "call": "sys.info", "args": {}})
    for bad in (b"", whole[:-1], whole[: len(whole) // 2], whole + b"\0", packed([]), packed({"v": 1}), b"\xc1" * 9):
        raw.send(bad)
        assert error_name(raw.read()) == "EPROTO"
    assert "ok" in raw.call("sys.info", {})


def test_a_huge_frame_is_refused_with_its_limit(raw: RawClient) -> None:
    raw.send(packed({"v": 1, "id": 5, "call": "ctx.append", "args": {"pid": 2, "text": "x" * (5 << 20)}}))
    frame = raw.read()
    assert error_name(frame) in ("EMSGSIZE", "EPROTO")
    assert re.search(r"\d{7}", str(frame["err"])), frame
    assert "ok" in raw.call("sys.info", {})


def test_a_frame_beyond_all_bounds_costs_the_connection_and_nobody_else(roomy: House) -> None:
    with raw_client(roomy.daemon.endpoint, roomy.daemon.key()) as client:
        client.send(b"\xc4" * (9 << 20))
    assert roomy.system.info().processes >= 1


def test_random_bytes_do_no_harm(roomy: House) -> None:
    chance = random.Random(20)
    with raw_client(roomy.daemon.endpoint, roomy.daemon.key(USER)) as client:
        for _ in range(300):
            client.send(chance.randbytes(chance.randrange(1, 400)))
        assert error_name(client.read()) == "EPROTO"
    assert roomy.system.info().processes >= 1


def test_several_frames_in_one_message_are_refused(raw: RawClient) -> None:
    raw.socket.send_multipart([packed({"v": 1, "id": 1, "call": "sys.info", "args": {}}), b"more"])
    assert error_name(raw.read()) == "EPROTO"


def test_an_unknown_key_is_refused_at_once(roomy: House, tmp_path: Path) -> None:
    server = load_key(roomy.daemon.key()).server
    save_key(tmp_path / "stranger.key", Key("stranger", new_keypair(), server))
    with pytest.raises(llmos.PermissionDenied):
        llmos.connect(roomy.daemon.endpoint, tmp_path / "stranger.key")


def test_a_key_for_another_daemon_gets_no_connection(roomy: House, tmp_path: Path) -> None:
    pair = load_key(roomy.daemon.key()).pair
    save_key(tmp_path / "other.key", Key("admin", pair, new_keypair().public))
    with pytest.raises((llmos.PermissionDenied, llmos.TryAgain)):
        llmos.connect(roomy.daemon.endpoint, tmp_path / "other.key")


@pytest.mark.parametrize("tcp", [False, True])
def test_who_speaks_no_curve_hears_nothing(roomy: House, tcp: bool) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket, context.socket(zmq.PAIR) as monitor:
        socket.linger = monitor.linger = 0
        refused = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_DISCONNECTED
        socket.monitor("inproc://monitor", refused)
        monitor.connect("inproc://monitor")
        socket.connect(roomy.daemon.tcp_endpoint if tcp else roomy.daemon.endpoint)
        socket.send(packed({"v": 1, "id": 1, "call": "sys.shutdown", "args": {}}))
        assert monitor.poll(30_000), "nobody refused the connection"
        assert not socket.poll(0)
        socket.monitor(None, 0)
    assert roomy.system.info().processes >= 1


def test_a_pid_that_nobody_has_is_named(roomy: House) -> None:
    nobody = roomy.system.process(999_999)
    for call in (nobody.info, nobody.read, nobody.kill, nobody.stop, nobody.fork, nobody.wait, nobody.why):
        with pytest.raises(llmos.NoSuchProcess, match="999999"):
            call()
    with pytest.raises(llmos.NoSuchProcess, match="999999"):
        greedy(nobody, 4).result()


def test_somebody_elses_process_is_out_of_reach(roomy: House, reference: Reference) -> None:
    mine, generation = roomy.begin(reference.varied[-2])
    with roomy.daemon.connect(USER) as theirs:
        seen = theirs.process(mine.pid)
        for call in (seen.info, seen.read, seen.kill, seen.stop, seen.term, seen.fork, seen.wait, seen.swap_out):
            with pytest.raises(llmos.PermissionDenied, match=USER):
                call()
        with pytest.raises(llmos.PermissionDenied):
            seen.append("more")
        with pytest.raises(llmos.PermissionDenied):
            greedy(seen, 1).result()
        assert theirs.processes(all=True) == []
        for forbidden in (theirs.drain, theirs.shutdown):
            with pytest.raises(llmos.PermissionDenied, match="admin"):
                forbidden()
    assert ties(reference.varied[-2], generation.result().token_ids) <= 1


def test_nobody_spawns_under_somebody_elses_parent(roomy: House) -> None:
    parent = roomy.spawn()
    with raw_client(roomy.daemon.endpoint, roomy.daemon.key(USER)) as client:
        assert client.error("proc.spawn", {"parent": parent.pid}) == "EPERM"
        assert client.error("proc.spawn", {"parent": 999_999}) == "ESRCH"
        assert client.error("proc.spawn", {"parent": 1}) in ("EPERM", "ESRCH")


def test_a_prompt_longer_than_the_context_is_too_long(roomy: House) -> None:
    limit = roomy.engine.context_limit
    process = roomy.spawn()
    for tokens in (limit, limit + 1, 100_000):
        with pytest.raises(llmos.MessageTooLong, match=str(limit)):
            process.append([5] * tokens)
    assert process.info().context_tokens == 0


def test_tokens_outside_of_the_vocabulary_are_refused(roomy: House) -> None:
    with pytest.raises(llmos.InvalidArgument, match="49152"):
        roomy.spawn().append([1, 49_152])


def test_an_unknown_model_is_not_found(roomy: House) -> None:
    with pytest.raises(llmos.NotFound, match="gpt-9"):
        roomy.system.spawn(model="gpt-9")


def test_generating_after_nothing_and_twice_at_once_is_refused(roomy: House, reference: Reference) -> None:
    with pytest.raises(llmos.InvalidArgument, match="empty"):
        greedy(roomy.spawn(), 4).result()
    process, generation = roomy.begin(reference.varied[-2])
    with pytest.raises(llmos.Busy):
        greedy(process, 4).result()
    changes: tuple[Callable[[], int], ...] = (
        lambda: process.append([1]),
        lambda: process.rewind(1),
        lambda: process.truncate(1),
    )
    for change in changes:
        with pytest.raises(llmos.Busy):
            change()
    assert ties(reference.varied[-2], generation.result().token_ids) <= 1


def test_contexts_cannot_be_cut_beyond_their_ends(roomy: House) -> None:
    process = roomy.context([1, 2, 3])
    changes: tuple[Callable[[], int], ...] = (lambda: process.rewind(4), lambda: process.truncate(4))
    for change in changes:
        with pytest.raises(llmos.InvalidArgument, match="3"):
            change()
    assert process.read().token_ids == (1, 2, 3)


def test_waiting_for_a_process_that_is_gone_leaves_no_timer_behind(roomy: House) -> None:
    process = roomy.system.spawn()
    process.info()
    process.kill()
    process.wait()
    with raw_client(roomy.daemon.endpoint, roomy.daemon.key()) as client:
        assert client.error("proc.wait", {"pid": process.pid, "timeout": 0.05}) == "ESRCH"
        other = roomy.spawn()
        assert client.error("proc.wait", {"pid": other.pid, "timeout": 0.2}) == "ETIMEDOUT"
    assert roomy.system.info().processes >= 1
