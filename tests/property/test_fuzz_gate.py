"""Whatever comes in at the gate, others are served and nothing is left behind: frames, handshakes, and ZAP requests.

A client that is let in throws frames, a plain socket throws handshakes, and an inproc socket throws requests at the
authenticator; each time somebody else must be served as always.
"""

from __future__ import annotations

import asyncio
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgpack
import zmq
from hypothesis import example, given, settings
from hypothesis import strategies as st
from zmq.utils import z85

from llmos.kernel.gate.accounts import Bounds
from llmos.kernel.gate.recorder import Recorder
from llmos.kernel.gate.zap import DOMAIN, Authenticator
from llmos.kernel.security.audit.log import AuditLog
from llmos.kernel.security.identity.keyring import Keyring
from llmos.syscalls.abi import messages as m
from llmos.syscalls.abi.table import CALLS
from llmos.syscalls.abi.words import Pid
from llmos.syscalls.wire.codec import encode_call, encode_cancel, encode_credit
from llmos.syscalls.wire.frames import MAX_ID, OkFrame
from llmos.syscalls.wire.keys import Key, load_key
from tests.property.message_strategies import records
from tests.property.mutations import damaged
from tests.property.test_codec import json_like
from tests.unit.gate_house import ALICES, PATIENCE, Client, House, descriptors, gate_house

PATIENT = Bounds(strikes=1 << 30, key_strikes=1 << 30, connections=1 << 16, ping_seconds=0.2)
"""As many strikes as there may be, so that the gate goes on to answer."""

QUIET_SECONDS = 0.05
LOUD = ("sys.metrics", "gen.generate", "proc.info")
"""What the trivial kernel answers with very much, or with a bug of its own."""

IDS = st.integers(1, 8)
RANDOM_CALLS = st.sampled_from([call for call in CALLS if call.name not in LOUD]).flatmap(
    lambda call: st.builds(encode_call, IDS, st.just(call.name), records(call.request), st.none() | st.floats(0, 1e-3))
)
OPEN_CALLS = st.builds(encode_call, IDS, st.just("proc.wait"), st.just(m.Wait(Pid(ALICES))))
CONTROLS = st.builds(encode_cancel, IDS) | st.builds(encode_credit, IDS, st.integers(1, 9))
VALID = RANDOM_CALLS | OPEN_CALLS | CONTROLS
FRAMES = VALID | damaged(VALID) | damaged(VALID) | st.binary(max_size=64) | json_like.map(msgpack.packb)
MESSAGES = FRAMES.map(lambda frame: [frame]) | st.lists(FRAMES | st.just(b""), min_size=1, max_size=4)


# --- frames


def test_no_frame_of_a_client_keeps_the_gate_from_serving(tmp_path: Path) -> None:
    with fuzzed_house(tmp_path) as (house, context), served(house, context, house.key("bob")) as good:
        key = house.key("alice")

        @settings(max_examples=150)
        @given(messages=st.lists(MESSAGES, min_size=1, max_size=8))
        def throw(messages: list[list[bytes]]) -> None:
            with served(house, context, key) as client:
                for parts in messages:
                    client.socket.send_multipart(parts)
                assert is_served(client)
            assert is_served(good)

        throw()


# --- handshakes


def test_no_bytes_on_the_socket_keep_the_gate_from_letting_others_in(tmp_path: Path) -> None:
    with fuzzed_house(tmp_path) as (house, context), ExitStack() as stack:
        key = house.key("bob")
        recorded = relay(stack.enter_context(relayed(house, context, key, tmp_path)), b"", 0)
        assert recorded[:10] == b"\xff\0\0\0\0\0\0\0\1\x7f"
        assert b"HELLO" in recorded
        assert b"INITIATE" in recorded
        handshakes = damaged(st.just(recorded)) | damaged(st.just(recorded[:64])) | st.binary(max_size=300)

        @settings(max_examples=150)
        @given(data=handshakes)
        @example(data=b"")
        def throw(data: bytes) -> None:
            shout(house, data)
            with served(house, context, key) as client:
                assert is_served(client)

        throw()


def test_a_handshake_that_is_damaged_on_its_way_keeps_nobody_else_out(tmp_path: Path) -> None:
    with fuzzed_house(tmp_path) as (house, context):
        key = house.key("bob")

        @settings(max_examples=40)
        @given(place=st.integers(0, 700), bytes_there=st.binary(min_size=1, max_size=3))
        def interfere(place: int, bytes_there: bytes) -> None:
            with relayed(house, context, key, tmp_path) as ends:
                relay(ends, bytes_there, place)
            with served(house, context, key) as client:
                assert is_served(client)

        interfere()


# --- requests to the authenticator

KNOWN, UNKNOWN = b"k" * 32, b"u" * 32
"""The former stands for the one key that is known, which is another in each run."""

PARTS = st.sampled_from([b"1.0", b"1", b"", DOMAIN, b"CURVE", b"NULL", b"PLAIN", KNOWN, UNKNOWN, b"k" * 31])
RIGHT = st.tuples(st.binary(max_size=4), st.binary(max_size=4), st.binary(max_size=4)).map(
    lambda words: [b"1.0", words[0], DOMAIN, words[1], words[2], b"CURVE", KNOWN]
)
REQUESTS = RIGHT | st.lists(PARTS | st.binary(max_size=40), min_size=1, max_size=10)


def test_no_zap_request_gets_anything_but_200_or_400_and_200_only_with_a_known_key(tmp_path: Path) -> None:
    with door(tmp_path) as asked:

        @settings(max_examples=300)
        @given(requests=st.lists(st.tuples(st.booleans(), REQUESTS), min_size=1, max_size=6))
        @example(requests=[(False, [b"1.0", b"1", DOMAIN, b"", b"", b"CURVE", KNOWN])])
        @example(requests=[(False, [b"1.0"]), (True, [b""]), (False, [b""])])
        def ask(requests: list[tuple[bool, list[bytes]]]) -> None:
            for delimited, parts in requests:
                sent = [asked.public if part == KNOWN else part for part in parts]
                asked.socket.send_multipart([b"", *sent] if delimited else sent)
            answers = asked.answers()
            may_enter = any(asks_rightly(parts) for _, parts in requests)
            assert {status for status, _ in answers} <= {b"200", b"400"}
            assert {user for status, user in answers if status == b"200"} <= ({asked.user} if may_enter else set())

        ask()


def asks_rightly(parts: list[bytes]) -> bool:
    """Whether the end of it is a request with the key that is known."""
    return parts[-7:-6] == [b"1.0"] and parts[-5] == DOMAIN and parts[-2:] == [b"CURVE", KNOWN]


@dataclass(frozen=True, slots=True)
class Door:
    """An authenticator, and a socket that asks it; `public` is the one key that it knows, and `user` whose it is."""

    socket: zmq.Socket[bytes]
    public: bytes

    @property
    def user(self) -> bytes:
        return z85.encode(self.public)

    def answers(self) -> list[tuple[bytes, bytes]]:
        """Status and user of all that is answered until a last good request is; refusals may come later."""
        self.socket.send_multipart([b"", b"1.0", b"the last", DOMAIN, b"", b"", b"CURVE", self.public])
        found: list[tuple[bytes, bytes]] = []
        while self.socket.poll(PATIENCE):
            *_, number, status, _, user, _ = self.socket.recv_multipart()
            if number == b"the last":
                assert (status, user) == (b"200", self.user)
                return found
            found.append((status, user))
        raise TimeoutError("the authenticator is silent")


@contextmanager
def door(folder: Path) -> Iterator[Door]:
    """An authenticator in a loop and a thread of its own; nothing may go wrong in it."""
    loop, keyring, bugs = asyncio.new_event_loop(), Keyring.open(folder / "keys"), list[str]()
    loop.set_exception_handler(lambda _, context: bugs.append(str(context.get("exception"))))
    log = AuditLog.open(loop, folder / "audit", folder / "keys")
    with zmq.Context() as context, context.socket(zmq.DEALER) as asking:
        authenticator = Authenticator(loop, context, keyring, Recorder(log))
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        asking.linger = 0
        asking.connect("inproc://zeromq.zap.01")
        try:
            yield Door(asking, z85.decode(load_key(folder / "keys" / "admin.key").pair.public))
        finally:
            for last in (authenticator.close, log.close, loop.stop):
                loop.call_soon_threadsafe(last)
            thread.join(10)
            loop.close()
    assert not bugs


# --- a gate that is fuzzed


@contextmanager
def fuzzed_house(folder: Path) -> Iterator[tuple[House, zmq.Context[zmq.Socket[bytes]]]]:
    """A gate in which nothing may go wrong, and of which nothing may be left."""
    zmq.Context().term()  # what the library opens once, for good
    before = descriptors(), threading.active_count()
    with gate_house(folder, PATIENT) as house, zmq.Context() as context:
        yield house, context
        assert not house.bugs
    # The library's own threads have descriptors each.
    assert (descriptors(), threading.active_count()) == before


@contextmanager
def served(house: House, context: zmq.Context[zmq.Socket[bytes]], key: Key) -> Iterator[Client]:
    """A client that connects, and leaves again."""
    client = Client(context, house.endpoint, key)
    with closing(client.socket):
        yield client


def is_served(client: Client) -> bool:
    """Whether a call is answered; it reads what was sent before."""
    client.call(MAX_ID, "sys.info")
    while (frame := client.read()).id != MAX_ID:
        pass
    return isinstance(frame, OkFrame)


def shout(house: House, data: bytes) -> None:
    """Write bytes to the gate's socket and wait until it hangs up."""
    with socket.socket(socket.AF_UNIX) as plain:
        plain.settimeout(PATIENCE / 1000)
        plain.connect(house.endpoint.removeprefix("ipc://"))
        with suppress(BrokenPipeError, ConnectionResetError):
            plain.sendall(data)
            plain.shutdown(socket.SHUT_WR)
            while plain.recv(1 << 16):
                pass


@dataclass(frozen=True, slots=True)
class Ends:
    """A client that has sent a call, and the two sockets between it and the gate."""

    client: Client
    inner: socket.socket
    outer: socket.socket


@contextmanager
def relayed(house: House, context: zmq.Context[zmq.Socket[bytes]], key: Key, folder: Path) -> Iterator[Ends]:
    """A client whose bytes go through here."""
    path = folder / "relay.sock"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as outer:
        listener.settimeout(PATIENCE / 1000)
        listener.bind(str(path))
        listener.listen()
        outer.connect(house.endpoint.removeprefix("ipc://"))
        client = Client(context, f"ipc://{path}", key)
        client.call(1, "sys.info")
        inner, _ = listener.accept()
        with closing(client.socket), inner:
            yield Ends(client, inner, outer)
        path.unlink()


def relay(ends: Ends, damage: bytes, place: int) -> bytes:
    """Carry bytes to and fro, those of the client at `place` replaced, until one hangs up or there are no more.

    What the client sent.
    """
    sent = bytearray()
    while readable := select.select([ends.inner, ends.outer], [], [], QUIET_SECONDS)[0]:
        for end in readable:
            try:
                data = end.recv(1 << 16)
                if not data:
                    return bytes(sent)
                if end is ends.inner:
                    harmed, start = bytearray(data), len(sent)
                    sent += data
                    inside = place - start
                    if 0 <= inside < len(harmed):
                        harmed[inside : inside + len(damage)] = damage
                    data = bytes(harmed)
                (ends.outer if end is ends.inner else ends.inner).sendall(data)
            except (BrokenPipeError, ConnectionResetError):
                return bytes(sent)
    return bytes(sent)
