"""The kernel's end of a worker's channel: frames in pieces, frames that are none, orders larger than a socket holds.

The same for decoders and encoders: each test runs with the frames of both.
"""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fcntl import F_DUPFD_CLOEXEC, fcntl
from multiprocessing.connection import Connection
from socket import socket

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.drivers.encoder import channel as encoder
from llmos.drivers.engine import channel as engine
from llmos.drivers.workers.channel import MOST_BYTES, Failure, Garbled, KernelEnd, channel_pair, send_frame
from llmos.drivers.workers.conversation import Conversation
from llmos.kernel.ports.encoder import Encoded, EncodeOrder
from llmos.kernel.ports.engine import (
    Chunk,
    EngineGone,
    EngineRefused,
    Message,
    MoveId,
    Outcome,
    Plan,
    Sampled,
    SequenceId,
)

HIGH = 2000
"""A descriptor that `select` does not take."""


End = KernelEnd[engine.Frame | encoder.Frame]


@dataclass(frozen=True, slots=True)
class Kind:
    """What one kind of worker is told and says: something large of each."""

    decoder: msgspec.msgpack.Decoder[engine.Frame] | msgspec.msgpack.Decoder[encoder.Frame]
    report: Message
    order: Message

    def end(self, ours: socket, patience: float = 0.05) -> End:
        """The kernel's end of a channel to one."""
        return KernelEnd(ours, self.decoder, patience)  # type: ignore[arg-type]  # the frames of either


DECODER = Kind(
    engine.FRAMES,
    Outcome(7, tuple(MoveId(10**6 + n) for n in range(150_000)), (Sampled(SequenceId(1), 2, 3, -0.5, ((4, -1.5),)),)),
    Plan(1, chunks=(Chunk(SequenceId(1), 0, tuple(range(300_000)), 0, (3,), True),)),
)
ENCODER = Kind(
    encoder.FRAMES,
    Encoded(7, bytes(range(256)) * 4000, (1,) * 600, (3,)),
    EncodeOrder(1, ("x" * (1 << 15),) * 64),
)


@pytest.fixture(params=[DECODER, ENCODER], ids=["decoder", "encoder"])
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each kind of worker."""
    found: Kind = request.param
    return found


@dataclass(frozen=True, slots=True)
class Ends:
    """A channel: the kernel's end, and the worker's socket."""

    ours: End
    theirs: socket

    def conversation(self) -> Conversation[Message]:
        """What the kernel makes of it; whoever closes it is dead at once."""
        return Conversation("worker", self.ours, lambda: "killed by signal 9")  # type: ignore[arg-type]  # its reports


@pytest.fixture(params=[False, True], ids=["non-blocking", "blocking"])
def ends(request: pytest.FixtureRequest, kind: Kind) -> Iterator[Ends]:
    """A channel; the kernel's end as its loop leaves it, or as it was made."""
    ours, theirs = channel_pair()
    ours.setblocking(request.param)
    made = Ends(kind.end(ours), theirs)
    yield made
    made.ours.close()
    theirs.close()


def written(frame: Message) -> bytes:
    """The bytes of a frame as a worker writes them."""
    data = msgspec.msgpack.encode(frame)
    return len(data).to_bytes(4, "big") + data


def test_a_worker_writes_frames_as_these_tests_do(ends: Ends) -> None:
    with Connection(ends.theirs.detach()) as channel:
        send_frame(channel, Failure("why", True))
    assert ends.ours.receive() == Failure("why", True)


def test_a_report_that_arrives_in_pieces_is_none_until_it_is_whole(ends: Ends, kind: Kind) -> None:
    data = written(kind.report) + written(Failure("why", False))
    pieces = [data[begin : begin + 50_000] for begin in range(0, len(data), 50_000)]
    assert len(pieces) > 10
    for piece in pieces[:-1]:
        ends.theirs.sendall(piece)
        assert ends.ours.receive() is None
    ends.theirs.sendall(pieces[-1])
    assert ends.ours.receive() == kind.report
    assert ends.ours.receive() == Failure("why", False)
    assert ends.ours.receive() is None


def test_what_was_said_before_the_end_is_heard_first(ends: Ends) -> None:
    ends.theirs.sendall(written(Failure("why", True)) + b"\0\0")
    ends.theirs.close()
    assert ends.ours.receive() == Failure("why", True)
    with pytest.raises(EOFError):
        ends.ours.receive()


def test_a_worker_that_goes_away_in_the_middle_of_a_report_is_gone(ends: Ends, kind: Kind) -> None:
    talk = ends.conversation()
    ends.theirs.sendall(written(kind.report)[:1000])
    assert talk.receive() is None
    ends.theirs.close()
    with pytest.raises(EngineGone, match="the worker is gone: killed by signal 9"):
        talk.receive()
    with pytest.raises(EngineGone, match="the worker is gone: killed by signal 9"):
        talk.submit(kind.order)


def test_last_words_are_the_reason_whoever_meets_the_broken_channel_first(ends: Ends, kind: Kind) -> None:
    talk = ends.conversation()
    data = written(kind.report)
    for begin in range(0, len(data) - 1000, 50_000):
        ends.theirs.sendall(data[begin : min(begin + 50_000, len(data) - 1000)])
        assert talk.receive() is None
    ends.theirs.sendall(data[-1000:] + written(Failure("out of memory", False)))
    ends.theirs.close()
    with pytest.raises(EngineGone, match="the worker is gone: out of memory"):
        talk.submit(kind.order)


def test_a_refusal_is_for_good(ends: Ends) -> None:
    ends.theirs.sendall(written(Failure("no such model", True)))
    with pytest.raises(EngineRefused, match="no such model"):
        ends.conversation().receive()


@pytest.mark.parametrize("length", [-1, -(2**31), MOST_BYTES + 1, 2**31 - 1])
def test_a_length_that_no_report_has_is_garbage_at_once(ends: Ends, length: int) -> None:
    ends.theirs.sendall(length.to_bytes(4, "big", signed=True))
    with pytest.raises(EngineGone, match=f"the worker writes a frame of {length} bytes"):
        ends.conversation().receive()


@given(st.binary(max_size=200))
def test_no_bytes_break_more_than_the_channel(data: bytes) -> None:
    for kind in (DECODER, ENCODER):
        ours, theirs = channel_pair()
        end = kind.end(ours)
        with ours, theirs:
            theirs.sendall(len(data).to_bytes(4, "big") + data)
            with suppress(Garbled):
                assert isinstance(end.receive(), Message)


def test_an_order_larger_than_a_socket_holds_arrives_whole(ends: Ends, kind: Kind) -> None:
    read: list[bytes] = []
    with Connection(ends.theirs.detach()) as channel:
        reader = threading.Thread(target=lambda: read.append(channel.recv_bytes()))
        reader.start()
        # Whoever reads has all the time of a busy machine.
        patient = kind.end(socket(fileno=fcntl(ends.ours.fileno(), F_DUPFD_CLOEXEC, 0)), 60.0)
        patient.send(kind.order)
        patient.close()
        reader.join()
    assert read == [msgspec.msgpack.encode(kind.order)]


def test_a_worker_that_takes_nothing_hangs_and_is_not_waited_for_for_ever(ends: Ends, kind: Kind) -> None:
    with pytest.raises(EngineGone, match=r"the worker hangs: it takes nothing for 0.05 s"):
        ends.conversation().submit(kind.order)


def test_a_conversation_that_was_ended_takes_nothing(ends: Ends, kind: Kind) -> None:
    talk = ends.conversation()
    talk.close()
    talk.close()
    assert talk.closed
    with pytest.raises(EngineGone, match="the worker was killed"):
        talk.submit(kind.order)
    with pytest.raises(EngineGone, match="the worker was killed"):
        talk.receive()


def test_a_daemon_with_thousands_of_descriptors_sends_large_orders_too(kind: Kind) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, HIGH + 1), hard))
    made, theirs = channel_pair()
    ours = kind.end(socket(fileno=fcntl(made.fileno(), F_DUPFD_CLOEXEC, HIGH)), 60.0)
    made.close()
    with Connection(theirs.detach()) as channel:
        sender = threading.Thread(target=ours.send, args=(kind.order,))
        sender.start()
        assert channel.recv_bytes() == msgspec.msgpack.encode(kind.order)
        sender.join()
    ours.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
