"""What the gate does about a log that cannot be written, a policy that changes, and strangers that go on trying."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from llmos.kernel.gate.channel import Ending
from llmos.kernel.gate.zap import FREE_REFUSALS, REFUSALS_A_SECOND, Address
from llmos.kernel.security.policy.store import PolicyStore
from llmos.syscalls.abi import messages as m
from llmos.syscalls.abi.errors import Errno
from llmos.syscalls.abi.tools import ToolCall, ToolRegister
from llmos.syscalls.wire.frames import ErrorFrame, EventFrame
from llmos.syscalls.wire.keys import Key
from tests.unit.gate_house import ALICES, BOBS, Client, House, gate_house
from tests.unit.test_gate_server import number, serves, stream

Connect = Callable[[House, Key], Client]


def change_policy(house: House, rules: str) -> None:
    """Further rules are in force from now on."""
    folder = house.folder / "policy"
    folder.mkdir(exist_ok=True)
    (folder / "own.csv").write_text(rules)
    policy = PolicyStore(folder).load()

    def change() -> None:
        house.membrane.replace(policy)
        house.gate.recheck()

    house.loop.call_soon_threadsafe(change)


def test_while_the_audit_log_cannot_be_written_calls_are_refused(tmp_path: Path, connect: Connect) -> None:
    with gate_house(tmp_path) as house:
        client = connect(house, house.key("alice"))
        assert serves(client)
        house.log.failing = "no space left"
        client.call(1, "sys.info")
        frame = client.read()
        assert number(frame) == Errno.EIO
        assert isinstance(frame, ErrorFrame)
        assert "no space left" in frame.err.message
        house.log.failing = ""
        assert serves(client, 2)


def test_a_call_that_a_new_policy_forbids_ends_and_others_go_on(tmp_path: Path, connect: Connect) -> None:
    with gate_house(tmp_path) as house:
        alice, bob = connect(house, house.key("alice")), connect(house, house.key("bob"))
        alice.call(1, "gen.generate", stream(ALICES, 5, 1))
        bob.call(1, "proc.wait", m.Wait(BOBS))
        assert isinstance(alice.read(), EventFrame)
        change_policy(house, "p, principal:alice, *, proc:/**, gen.*, deny\n")
        frame = alice.read()
        assert number(frame) == Errno.EPERM
        assert house.kernel.endings == [Ending.GONE]
        assert serves(alice)
        assert bob.silent()


def test_a_call_that_ends_with_another_that_a_new_policy_forbids_has_one_last_frame(
    tmp_path: Path, connect: Connect
) -> None:
    with gate_house(tmp_path) as house:
        alice = connect(house, house.key("alice"))
        alice.call(1, "tool.register", ToolRegister("x"))
        alice.call(2, "tool.call", ToolCall("x"))
        assert serves(alice)
        change_policy(house, "p, principal:alice, *, tool:/**, tool.*, deny\n")
        ended = [alice.read(), alice.read()]
        assert [(frame.id, number(frame)) for frame in ended] == [(2, Errno.EBUSY), (1, Errno.EPERM)]
        assert alice.silent()
        assert house.in_loop("calls") == 0


def test_an_address_that_goes_on_trying_gets_its_refusals_later_and_others_do_not() -> None:
    hammering, other = Address(), Address()
    assert [hammering.take_turn(0.0) for _ in range(FREE_REFUSALS + 1)] == [True] * FREE_REFUSALS + [False]
    assert other.take_turn(0.0)
    assert not hammering.take_turn(0.4 / REFUSALS_A_SECOND)
    assert hammering.take_turn(1.1 / REFUSALS_A_SECOND)
    assert hammering.take_turn(1000.0)
