"""Plain clients of a gate for the tests that need them; none is left open."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import zmq

from llmos.syscalls.wire.keys import Key
from tests.unit.gate_house import Client, House


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
