"""Plain clients of a gate, and files on the host, for the tests that need them; nothing is left open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from llmos.drivers.files.resolving import AtOnce, PartByPart
from llmos.syscalls.wire.keys import Key
from tests.unit.file_place import Place, new_place
from tests.unit.gate_house import Client, House


@pytest.fixture(params=[AtOnce(), PartByPart()], ids=["openat2", "openat"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Files on the host, over both ways of reaching a directory."""
    yield from new_place(request.param, tmp_path)


@pytest.fixture
def connect() -> Iterator[Callable[[House, Key], Client]]:
    """Makes clients, and closes them at the end."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    clients: list[Client] = []

    def make(house: House, key: Key) -> Client:
        clients.append(Client(context, house.endpoint, key))
        return clients[-1]

    yield make
    for client in clients:
        client.socket.close(0)
    context.term()
