"""Nothing is performed without the proof for just that: the table of handlers, and the last check before the core."""

from __future__ import annotations

import ast
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from llmos.kernel.core import events as ev
from llmos.kernel.core.authority import Authorized, NotAuthorized
from llmos.kernel.core.principal import Principal
from llmos.kernel.gate.calls.handler import row
from llmos.kernel.gate.calls.table import Handlers
from llmos.kernel.gate.channel import Channel
from llmos.kernel.loop import authority
from llmos.kernel.ports.engine import SamplingParameters
from llmos.kernel.security.membrane import Membrane
from llmos.kernel.security.names import FilePath
from llmos.kernel.security.objects import Owner
from llmos.syscalls.abi.errors import Error
from llmos.syscalls.abi.messages import Nothing
from llmos.syscalls.abi.table import BY_NAME, CALLS, Call, Subject
from llmos.syscalls.abi.words import INIT, Limits, Pid, PriorityClass, Record, Signal
from tests.simulation import Harness
from tests.unit.test_membrane import membrane

ALICE, BOB = Principal("alice", "developer"), Principal("bob", "developer")
KERNEL = Path(__file__).resolve().parents[2] / "kernel"
EVENTS = get_args(ev.CallEvent)


class Silent:
    """Where answers would leave."""

    def __init__(self) -> None:
        self.sent: list[Record | Error] = []

    def reply(self, record: Record) -> None:
        self.sent.append(record)

    def fail(self, error: Error) -> None:
        self.sent.append(error)

    def event(self, record: Record) -> None:
        self.sent.append(record)


def proof(gate: Membrane, who: Principal, call: Call, pid: Pid) -> Authorized:
    """What the membrane gives for a call that is allowed."""
    if call.subject is Subject.PROCESS:
        return gate.authorize_process(who, pid, call.name)
    return gate.authorize(who, "anything", call.name)


def everything() -> Membrane:
    """A membrane that lets everybody do everything."""
    return membrane("p, any, *, **, **, allow\n", shipped=False)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_no_handler_runs_without_the_proof_for_its_call(call: Call) -> None:
    gate, ran = everything(), list[str]()
    rows = dict(row(one.name, Record, lambda by, request, channel: ran.append(by.action)) for one in CALLS)
    handlers, outlet = Handlers([rows]), Silent()
    other = next(one for one in CALLS if one.name != call.name)
    for wrong in (None, object(), proof(gate, ALICE, other, Pid(7))):
        with pytest.raises(NotAuthorized):
            handlers.dispatch(wrong, call, Nothing(), Channel(outlet))  # type: ignore[arg-type] # that is the point
    assert ran == []
    assert outlet.sent == []
    handlers.dispatch(proof(gate, ALICE, call, Pid(7)), call, Nothing(), Channel(outlet))
    assert ran == [call.name]


def test_a_table_with_a_call_too_few_or_too_many_is_no_table() -> None:
    rows = dict(row(one.name, Record, lambda by, request, channel: None) for one in CALLS)
    with pytest.raises(AssertionError, match=r"sys\.info"):
        Handlers([{name: handler for name, handler in rows.items() if name != "sys.info"}])
    with pytest.raises(AssertionError, match="another"):
        Handlers([rows, {"another": rows["sys.info"]}])


def _event(kind: type[ev.CallEvent], pid: Pid) -> ev.CallEvent:
    """An event of a kind about a process."""
    known: dict[str, object] = {
        "pid": pid,
        "children": (Pid(99),),
        "pids": (Pid(98), Pid(99)),
        "continuations": ((1,),),
        "call": Pid(98),
        "signal": Signal.STOP,
        "by": "alice",
        "priority": PriorityClass.BATCH,
        "weight": 100,
        "limits": Limits(),
        "clear": (),
        "tokens": (1,),
        "closed_role": None,
        "length": 0,
        "sampling": SamplingParameters(),
        "max_tokens": 1,
        "ignore_eos": True,
        "stopped": False,
        "what": "a message",
        "origin": ev.SOMEBODY,
        "on": True,
        "parent": INIT,
        "name": "",
        "app": "",
        "principal": "alice",
        "tenant": "default",
        "scope": None,
        "model": "sim",
        "deadline": None,
    }
    return kind(**{field.name: known[field.name] for field in fields(kind)})  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_a_proof_covers_its_own_events_on_its_own_process_only(kind: type[ev.CallEvent]) -> None:
    house, gate = Harness(), everything()
    mine, theirs = house.with_context(4), house.spawn("bob")
    event = _event(kind, mine)
    allowed = authority.ACTIONS[kind]
    for call in CALLS:
        right = alices(gate, call, mine)
        if call.name in allowed:
            authority.check(right, event, house.kernel)
            if call.subject is Subject.PROCESS:
                with pytest.raises(NotAuthorized):
                    authority.check(alices(gate, call, theirs), event, house.kernel)
        else:
            with pytest.raises(NotAuthorized):
                authority.check(right, event, house.kernel)
    for forged in (None, object(), "alice"):
        with pytest.raises(NotAuthorized):
            authority.check(forged, event, house.kernel)  # type: ignore[arg-type] # that is the point


class AlicesWorld:
    """Every process is hers."""

    default_model = "sim"
    default_encoder = "minilm"

    def owner_of(self, pid: Pid) -> Owner | None:
        return Owner("alice", "default")

    def mailbox_of(self, pid: Pid) -> Owner | None:
        return self.owner_of(pid)

    def file_of(self, descriptor: int) -> FilePath | None:
        return FilePath("alice", ("file",))


def alices(gate: Membrane, call: Call, pid: Pid) -> Authorized:
    """Alice's proof for a call, on a process of the harness where it is about one."""
    if call.subject is not Subject.PROCESS:
        return gate.authorize(ALICE, "anything", call.name)
    gate.owners = AlicesWorld()
    return gate.authorize_process(ALICE, pid, call.name)


def test_spawning_for_somebody_else_is_not_covered() -> None:
    house, gate = Harness(), everything()
    event = _event(ev.Spawn, Pid(50))
    authority.check(gate.authorize(ALICE, "proc:/alice/*", "proc.spawn"), event, house.kernel)
    with pytest.raises(NotAuthorized):
        authority.check(gate.authorize(BOB, "proc:/bob/*", "proc.spawn"), event, house.kernel)


def test_every_event_of_a_call_has_calls_that_cover_it_and_they_exist() -> None:
    assert set(authority.ACTIONS) == set(EVENTS)
    assert set().union(*authority.ACTIONS.values()) <= BY_NAME.keys()


def test_calls_reach_the_core_through_the_check_alone() -> None:
    """Beside the shell nobody tells the core anything, and the gate performs with a proof or not at all."""
    for path in (KERNEL / "gate").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                assert node.func.attr not in ("tell", "handle", "_handle"), f"{path}:{node.lineno}"
    shell = ast.parse((KERNEL / "loop" / "shell.py").read_text())
    outward = {"perform", "generate", "when_exited", "when_swapped"}
    for function in (node for node in ast.walk(shell) if isinstance(node, ast.FunctionDef) and node.name in outward):
        called = [
            node.func.id
            for node in ast.walk(function)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        ]
        assert called[0] == "check", function.name


def test_reading_needs_the_proof_for_reading_that_process() -> None:
    gate = everything()
    right = gate.authorize_process(ALICE, Pid(7), "ctx.read")
    authority.check_reading(right, 7, "ctx.read")
    for wrong, pid in ((right, 8), (gate.authorize_process(ALICE, Pid(7), "proc.info"), 7), (None, 7)):
        with pytest.raises(NotAuthorized):
            authority.check_reading(wrong, pid, "ctx.read")  # type: ignore[arg-type] # that is the point
