"""What one key may take at the gate: over all its connections, and told when it is too much."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from llmos.kernel.core.principal import Principal
from llmos.kernel.gate.accounts import Account, Bounds, Strikes
from llmos.kernel.security.identity.registry import Identity
from llmos.syscalls.abi import messages as m
from llmos.syscalls.abi.errors import Errno
from llmos.syscalls.wire.frames import NO_CALL, ErrorFrame, OkFrame
from llmos.syscalls.wire.keys import Key
from tests.unit.gate_house import ALICES, Client, House, gate_house

Connect = Callable[[House, Key], Client]


def refusal(client: Client) -> tuple[int, Errno, str]:
    frame = client.read()
    assert isinstance(frame, ErrorFrame)
    return frame.id, Errno(frame.err.number), frame.err.message


def account(rate: float = 10.0) -> Account:
    return Account(Identity(Principal("alice", "developer"), "x" * 40, 0.0), rate)


def test_as_many_calls_as_fit_into_a_second_may_come_at_once_and_then_at_the_rate() -> None:
    alice = account(10.0)
    assert [alice.wait_for_turn(0.0) for _ in range(10)] == [0.0] * 10
    assert alice.wait_for_turn(0.0) == pytest.approx(0.1)
    assert alice.wait_for_turn(0.1) == 0.0
    assert alice.wait_for_turn(0.1) > 0.0
    assert [alice.wait_for_turn(50.0) for _ in range(11)][9:] == [0.0, pytest.approx(0.1)]


def test_strikes_are_forgotten_after_a_while_and_too_many_at_once_are_not() -> None:
    strikes, bounds = Strikes(), Bounds(strike_seconds=10.0, ignored_seconds=5.0)
    assert [strikes.add(at, 3, bounds) for at in (0.0, 1.0, 11.5, 12.0)] == [False] * 4
    assert strikes.add(13.0, 3, bounds)
    assert strikes.ignored_until == 18.0
    assert not strikes.forgotten(17.0, bounds)
    assert strikes.forgotten(40.0, bounds)


def test_a_connection_is_struck_before_its_key_and_a_key_for_all_its_connections(
    tmp_path: Path, connect: Connect
) -> None:
    with gate_house(tmp_path, Bounds(strikes=2, key_strikes=4, ignored_seconds=30.0)) as house:
        alice, bob = house.key("alice"), house.key("bob")
        first, second, third, other = (connect(house, key) for key in (alice, alice, alice, bob))
        for client in (first, second):
            for _ in range(2):
                client.socket.send(b"nonsense")
                assert refusal(client)[1] is Errno.EPROTO
            identifier, number, message = refusal(client)
            assert (identifier, number) == (NO_CALL, Errno.EAGAIN)
            assert "not heard" in message
            third.call(1, "sys.info")
            if client is first:
                assert isinstance(third.read(), OkFrame)
        assert refusal(third)[:2] == (NO_CALL, Errno.EAGAIN)
        other.call(1, "sys.info")
        assert isinstance(other.read(), OkFrame)


def test_calls_beyond_the_rate_are_told_when_to_come_back(tmp_path: Path, connect: Connect) -> None:
    with gate_house(tmp_path, Bounds(rate=2.0, strikes=100)) as house:
        client = connect(house, house.key("alice"))
        for id in (1, 2):
            client.call(id, "sys.info")
            assert isinstance(client.read(), OkFrame)
        client.call(3, "sys.info")
        assert refusal(client) == (3, Errno.EAGAIN, "this key makes more than 2 calls a second")


def test_a_key_has_so_many_connections(tmp_path: Path, connect: Connect) -> None:
    with gate_house(tmp_path, Bounds(connections=2)) as house:
        alice = house.key("alice")
        for client in (connect(house, alice), connect(house, alice)):
            client.call(1, "sys.info")
            assert isinstance(client.read(), OkFrame)
        third = connect(house, alice)
        third.call(1, "sys.info")
        assert refusal(third)[:2] == (NO_CALL, Errno.EAGAIN)
        other = connect(house, house.key("bob"))
        other.call(1, "sys.info")
        assert isinstance(other.read(), OkFrame)


def test_a_connection_that_has_ended_counts_no_more(tmp_path: Path, connect: Connect) -> None:
    with gate_house(tmp_path, Bounds(connections=1, ping_seconds=0.05)) as house:
        alice = house.key("alice")
        first = connect(house, alice)
        first.call(1, "sys.info")
        assert isinstance(first.read(), OkFrame)
        first.socket.close(0)
        answer: object = None
        while not isinstance(answer, OkFrame):
            again = connect(house, alice)
            again.call(1, "sys.info")
            answer = again.read()
            again.socket.close(0)


def test_a_key_has_so_many_open_calls_over_all_its_connections(tmp_path: Path, connect: Connect) -> None:
    with gate_house(tmp_path, Bounds(key_calls=3)) as house:
        alice = house.key("alice")
        first, second = connect(house, alice), connect(house, alice)
        for client, id in ((first, 1), (second, 1), (first, 2)):
            client.call(id, "proc.wait", m.Wait(ALICES))
        while house.in_loop("calls") < 3:
            """They come over two connections, in any order."""
        first.call(3, "sys.info")
        assert refusal(first)[:2] == (3, Errno.EAGAIN)
        second.call(2, "sys.info")
        assert refusal(second)[:2] == (2, Errno.EAGAIN)
