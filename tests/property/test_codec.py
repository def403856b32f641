"""Whatever the bytes are, the codec answers; whatever the message is, it survives the wire."""

from __future__ import annotations

from contextlib import suppress

import msgpack
import msgspec
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from llmos.syscalls.abi.errors import BY_NUMBER, Error, InvalidArgument, NotSupported, ProtocolError
from llmos.syscalls.abi.messages import Append, Spawn
from llmos.syscalls.abi.table import BY_NAME, CALLS
from llmos.syscalls.abi.words import Record
from llmos.syscalls.wire import codec
from llmos.syscalls.wire.frames import (
    MAX_CREDIT,
    MAX_ID,
    BadFrame,
    CallFrame,
    CancelFrame,
    CreditFrame,
    ErrorFrame,
    EventFrame,
    OkFrame,
    PingFrame,
)
from tests.property.message_strategies import records

IDS = st.integers(1, MAX_ID)
SECONDS = st.none() | st.floats(0, 31_536_000)
EVERY_CALL = pytest.mark.parametrize("name", [call.name for call in CALLS])
FEWER = settings(max_examples=40)  # of each call
STREAMS = pytest.mark.parametrize("name", [call.name for call in CALLS if call.event is not None])


def roundtrip_by_the_other_implementation(data: bytes) -> bytes:
    """What a client that only has `msgpack` would send after reading this."""
    packed: bytes = msgpack.packb(msgpack.unpackb(data, raw=False, strict_map_key=True))
    return packed


def request_of(data: bytes) -> Record:
    frame = codec.decode_request(data)
    assert isinstance(frame, CallFrame)
    return codec.decode_arguments(frame.call, frame.args)


@EVERY_CALL
@FEWER
@given(data=st.data(), id=IDS, timeout=SECONDS)
def test_every_request_survives_the_wire(name: str, data: st.DataObject, id: int, timeout: float | None) -> None:
    request = data.draw(records(BY_NAME[name].request))
    sent = codec.encode_call(id, name, request, timeout)
    for received in (sent, roundtrip_by_the_other_implementation(sent)):
        frame = codec.decode_request(received)
        assert isinstance(frame, CallFrame)
        assert (frame.id, frame.call, frame.timeout) == (id, name, timeout)
        assert codec.decode_arguments(name, frame.args) == request


@EVERY_CALL
@FEWER
@given(data=st.data(), id=IDS)
def test_every_reply_survives_the_wire(name: str, data: st.DataObject, id: int) -> None:
    kind = BY_NAME[name].reply
    reply = data.draw(records(kind))
    sent = codec.encode_ok(id, reply)
    for received in (sent, roundtrip_by_the_other_implementation(sent)):
        frame = codec.decode_response(received)
        assert isinstance(frame, OkFrame)
        assert frame.id == id
        assert codec.decode_record(kind, frame.ok) == reply


@STREAMS
@given(data=st.data(), id=IDS)
def test_every_event_survives_the_wire(name: str, data: st.DataObject, id: int) -> None:
    kind = BY_NAME[name].event
    assert kind is not None
    event = data.draw(records(kind))
    sent = codec.encode_event(id, event)
    for received in (sent, roundtrip_by_the_other_implementation(sent)):
        frame = codec.decode_response(received)
        assert isinstance(frame, EventFrame)
        assert frame.id == id
        assert codec.decode_record(kind, frame.ev) == event


@given(id=st.integers(0, MAX_ID), kind=st.sampled_from(list(BY_NUMBER.values())), message=st.text(), hint=st.text())
def test_every_error_survives_the_wire(id: int, kind: type[Error], message: str, hint: str) -> None:
    failure = kind(message, hint).failure()
    sent = codec.encode_error(id, failure)
    for received in (sent, roundtrip_by_the_other_implementation(sent)):
        assert codec.decode_response(received) == ErrorFrame(id, failure)


@given(id=IDS, credit=st.integers(1, MAX_CREDIT))
def test_control_frames_survive_the_wire(id: int, credit: int) -> None:
    assert codec.decode_request(codec.encode_cancel(id)) == CancelFrame(id)
    assert codec.decode_request(codec.encode_credit(id, credit)) == CreditFrame(id, credit)
    assert codec.decode_response(codec.encode_ping()) == PingFrame()


@given(data=st.binary(max_size=200))
def test_no_bytes_crash_a_decoder(data: bytes) -> None:
    swallow(data)


json_like = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats()
    | st.text(max_size=10)
    | st.binary(max_size=10)
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=8))
    | st.just(msgpack.Timestamp(5, 6)),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8) | st.integers(0, 9), inner),
    max_leaves=20,
)


@given(value=json_like)
def test_no_value_crashes_a_decoder(value: object) -> None:
    swallow(msgpack.packb(value))


@given(
    frame=st.fixed_dictionaries(
        {},
        optional={
            "v": st.sampled_from([1, 2, None, "1"]),
            "id": st.sampled_from([1, 0, -1, MAX_ID, MAX_ID + 1, "a", 1.5, True]),
            "call": st.sampled_from([*BY_NAME, "no.such", "", "x" * 65, 3]),
            "args": json_like,
            "timeout": st.floats() | st.none() | st.text(max_size=2),
            "cancel": st.sampled_from([True, False, 1]),
            "credit": st.integers(-2, MAX_CREDIT + 2),
            "ok": json_like,
            "err": json_like,
            "ping": json_like,
        },
    )
)
def test_frames_that_are_almost_right_do_not_crash_a_decoder(frame: dict[str, object]) -> None:
    swallow(msgpack.packb(frame))


@EVERY_CALL
@FEWER
@given(data=st.data())
def test_damaged_frames_do_not_crash_a_decoder(name: str, data: st.DataObject) -> None:
    sent = codec.encode_call(5, name, data.draw(records(BY_NAME[name].request)))
    swallow(sent[: data.draw(st.integers(0, len(sent) - 1), label="cut")])
    damaged = bytearray(sent)
    for place in data.draw(st.lists(st.integers(0, len(sent) - 1), min_size=1, max_size=4), label="places"):
        damaged[place] = data.draw(st.integers(0, 255), label="byte")
    swallow(bytes(damaged))
    swallow(sent + bytes(damaged))


def swallow(data: bytes) -> None:
    """Decode as both ends do; only the errors that are promised may come, and they must fit on the wire."""
    try:
        frame = codec.decode_request(data)
        if isinstance(frame, CallFrame):
            request = codec.decode_arguments(frame.call, frame.args)
            assert msgspec.msgpack.encode(request)
    except (ProtocolError, InvalidArgument, NotSupported) as error:
        codec.encode_error(error.id if isinstance(error, BadFrame) else 1, error.failure())
    with suppress(BadFrame):
        codec.decode_response(data)


def test_the_strategies_reach_nested_and_optional_parts() -> None:
    """Guards the tests above against strategies that have become empty."""
    quick = settings(phases=[Phase.generate], max_examples=1000)
    find(records(Append), lambda request: isinstance(request, Append) and bool(request.messages), settings=quick)
    find(
        records(Spawn),
        lambda request: isinstance(request, Spawn) and request.limits.children is not None,
        settings=quick,
    )
