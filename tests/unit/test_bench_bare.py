"""The bare servers that benchmarks compare with: they answer what they are asked for, with CURVE and without."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
import zmq

from bench.bare import SIZE, Echo, Orders, Stream, Wish, bare_server
from llmos.syscalls.wire.keys import KeyPair, new_keypair

PATIENCE = 20_000


@contextmanager
def client(orders: Orders, server: KeyPair | None) -> Iterator[zmq.Socket[bytes]]:
    """A socket that is connected to a running server."""
    with bare_server(orders), zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger, dealer.rcvtimeo = 0, PATIENCE
        if server is not None:
            own = new_keypair()
            dealer.curve_serverkey = server.public.encode()
            dealer.curve_publickey, dealer.curve_secretkey = own.public.encode(), own.secret.encode()
        dealer.connect(orders.endpoint)
        yield dealer


@pytest.mark.parametrize("server", [None, new_keypair()], ids=["bare", "CURVE"])
def test_an_echo_gives_the_same_bytes_for_anything(tmp_path: Path, server: KeyPair | None) -> None:
    orders = Orders(f"ipc://{tmp_path}/s", Echo(b"reply"), server.secret if server else None)
    with client(orders, server) as dealer:
        for sent in (b"", b"x" * 1000):
            dealer.send(sent)
            assert dealer.recv() == b"reply"


def test_a_stream_takes_and_gives_as_many_as_it_is_told(tmp_path: Path) -> None:
    server = new_keypair()
    with client(Orders(f"ipc://{tmp_path}/s", Stream(), server.secret), server) as dealer:
        dealer.send(msgspec.json.encode(Wish(take=2)))
        for _ in range(2):
            dealer.send(bytes(SIZE))
        assert dealer.recv() == b"taken"
        dealer.send(msgspec.json.encode(Wish(give=2)))
        assert [len(dealer.recv()) for _ in range(2)] == [SIZE, SIZE]
