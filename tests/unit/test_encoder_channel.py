"""The kernel's end of an encoder's channel: frames that arrive in pieces, and orders larger than a socket holds."""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterator
from fcntl import F_DUPFD_CLOEXEC, fcntl
from multiprocessing.connection import Connection
from socket import socket

import pytest

from llmos.drivers.encoder.channel import Failure, KernelEnd, channel_pair, decode_order, send_frame
from llmos.kernel.ports.encoder import Encoded, EncodeOrder

HIGH = 2000
"""A descriptor that `select` does not take."""

LARGE = Encoded(7, bytes(range(256)) * 4000, (1,) * 600, (3,))


@pytest.fixture(params=[False, True], ids=["non-blocking", "blocking"])
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[KernelEnd, socket]]:
    """A channel; the kernel's end as its loop leaves it, or as it was made."""
    ours, theirs = channel_pair()
    with socket(fileno=ours.fileno()) as same:
        same.setblocking(request.param)
        same.detach()
    yield ours, theirs
    ours.close()
    theirs.close()


def written(frame: Encoded | Failure) -> bytes:
    """The bytes of a frame as an encoder writes them."""
    ours, theirs = channel_pair()
    channel = Connection(theirs.detach())
    parts: list[bytes] = []

    def send() -> None:
        with channel:
            send_frame(channel, frame)

    with socket(fileno=ours.fileno()) as reading:
        sender = threading.Thread(target=send)
        sender.start()
        while data := reading.recv(1 << 16):
            parts.append(data)
        sender.join()
        reading.detach()
    ours.close()
    return b"".join(parts)


def test_a_report_that_arrives_in_pieces_is_none_until_it_is_whole(ends: tuple[KernelEnd, socket]) -> None:
    ours, theirs = ends
    data = written(LARGE) + written(Failure("why", False))
    pieces = [data[begin : begin + 50_000] for begin in range(0, len(data), 50_000)]
    for piece in pieces[:-1]:
        theirs.sendall(piece)
        assert ours.receive() is None
    theirs.sendall(pieces[-1])
    assert ours.receive() == LARGE
    assert ours.receive() == Failure("why", False)
    assert ours.receive() is None


def test_what_was_said_before_the_end_is_heard_first(ends: tuple[KernelEnd, socket]) -> None:
    ours, theirs = ends
    theirs.sendall(written(Failure("why", True)) + b"\0\0")
    theirs.close()
    assert ours.receive() == Failure("why", True)
    with pytest.raises(EOFError):
        ours.receive()


def test_an_order_larger_than_a_socket_holds_arrives_whole(ends: tuple[KernelEnd, socket]) -> None:
    ours, theirs = ends
    order = EncodeOrder(1, ("x" * (1 << 15),) * 64)
    read: list[EncodeOrder] = []
    with Connection(theirs.detach()) as channel:
        reader = threading.Thread(target=lambda: read.append(decode_order(channel.recv_bytes())))
        reader.start()
        ours.send(order)
        reader.join()
    assert read == [order]


def test_a_daemon_with_thousands_of_descriptors_sends_large_orders_too() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, HIGH + 1), hard))
    made, theirs = channel_pair()
    ours = KernelEnd(socket(fileno=fcntl(made.fileno(), F_DUPFD_CLOEXEC, HIGH)))
    made.close()
    order = EncodeOrder(1, ("x" * (1 << 15),) * 64)
    with Connection(theirs.detach()) as channel:
        sender = threading.Thread(target=ours.send, args=(order,))
        sender.start()
        assert decode_order(channel.recv_bytes()) == order
        sender.join()
    ours.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
