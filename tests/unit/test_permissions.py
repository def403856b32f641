"""The matrix of calls, roles and owners: the page that people review is what a gate does, cell by cell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq

from llmos.kernel.core.principal import Principal
from llmos.kernel.security import matrix as x
from llmos.kernel.security.identity.keyring import Keyring
from llmos.kernel.security.objects import Owner
from llmos.syscalls.abi.errors import Errno
from llmos.syscalls.abi.table import CALLS
from llmos.syscalls.abi.words import Pid
from llmos.syscalls.wire.frames import ErrorFrame, OkFrame
from llmos.syscalls.wire.keys import load_key
from tests.unit.gate_house import Client, House, gate_house

PAGE = Path(__file__).resolve().parents[2] / "docs" / "permissions.md"
PIDS = x.Pids(Pid(102), Pid(103), Pid(104))
ANSWERED = {Errno.EPERM: x.Cell.DENIED, Errno.ESRCH: x.Cell.HIDDEN, Errno.ENOENT: x.Cell.HIDDEN}


def test_the_page_is_what_the_policy_says() -> None:
    assert PAGE.read_text() == x.matrix(), "paste the output of python -m llmos.kernel.security.matrix"


def test_every_call_is_in_the_page_and_every_role_is_denied_something() -> None:
    lines = PAGE.read_text().splitlines()
    assert [line for line in lines if line.startswith("| `")] != []
    assert {f"`{call.name}`" for call in CALLS} == {
        line.split(" | ")[0][2:] for line in lines if line.startswith("| `")
    }


@pytest.mark.parametrize("caller", x.callers(), ids=lambda caller: f"{caller.role} of {caller.tenant}")
def test_a_gate_answers_every_cell_as_the_page_says(tmp_path: Path, caller: Principal) -> None:
    expected = _cells(caller)
    with _served(tmp_path, caller) as (house, client):
        for id, case in enumerate(x.cases(caller, PIDS), 1):
            performed = len(house.kernel.performed)
            client.call(id, case.call.name, case.request)
            answer = _answer(client)
            assert answer is expected[case.call.name, case.whose], (case.call.name, case.whose)
            assert (len(house.kernel.performed) > performed) is (answer is x.Cell.ALLOWED)


def _cells(caller: Principal) -> dict[tuple[str, x.Whose], x.Cell]:
    """The column of a caller, read from the page."""
    column = 1 + [person.name for person in x.callers()].index(caller.name)
    rows = (line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| `"))
    return {
        (row[0].strip("`"), whose): x.Cell(sign)
        for row in rows
        for whose, sign in zip(x.Whose, row[column].strip("`"), strict=True)
    }


def _answer(client: Client) -> x.Cell:
    frame = client.read()
    if isinstance(frame, OkFrame):
        return x.Cell.ALLOWED
    assert isinstance(frame, ErrorFrame)
    return ANSWERED[Errno(frame.err.number)]


@contextmanager
def _served(folder: Path, caller: Principal) -> Iterator[tuple[House, Client]]:
    """A gate where everybody has a key and a process, and whose kernel only writes down what it would perform."""
    with gate_house(folder, performs=False) as house, zmq.Context() as context:
        owners = {PIDS.own: caller, PIDS.same: x.COLLEAGUE, PIDS.other: x.STRANGER}
        house.kernel.owners = {pid: Owner(who.name, who.tenant) for pid, who in owners.items()}
        keys = Keyring.open(folder / "keys")
        for who in (x.COLLEAGUE, x.STRANGER, *x.APPS.values()):
            keys.create(who.name, who.role, tenant=who.tenant, kind=who.kind)
        key = load_key(keys.create(caller.name, caller.role, tenant=caller.tenant))
        client = Client(context, house.endpoint, key)
        try:
            yield house, client
        finally:
            client.socket.close(0)
