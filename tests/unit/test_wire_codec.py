"""The codec's refusals: who gets them, what they name, and that they are cheap."""

from __future__ import annotations

import struct
import time
import tracemalloc

import msgspec
import pytest
from msgspec import Raw, inspect

from llmos.syscalls.abi import messages as m
from llmos.syscalls.abi.errors import InvalidArgument, MessageTooLong, NotSupported, ProtocolError
from llmos.syscalls.abi.table import CALLS
from llmos.syscalls.abi.words import ChatMessage, Record, Role
from llmos.syscalls.wire import codec
from llmos.syscalls.wire.frames import MAX_FRAME, MAX_REPLY, NO_CALL, BadFrame, CallFrame

pack = msgspec.msgpack.encode
HUGE_HEADERS = [bytes([opcode]) + b"\xff\xff\xff\xff" for opcode in (0xDD, 0xDF, 0xDB, 0xC6, 0xC9)]


def refused(frame: dict[str, object]) -> BadFrame:
    with pytest.raises(BadFrame) as caught:
        codec.decode_request(pack(frame))
    return caught.value


def test_a_frame_without_arguments_has_none() -> None:
    frame = codec.decode_request(pack({"v": 1, "id": 2, "call": "sys.info"}))
    assert isinstance(frame, CallFrame)
    assert codec.decode_arguments(frame.call, frame.args) == m.Nothing()


def test_a_bad_frame_keeps_the_id_that_could_be_read() -> None:
    assert refused({"v": 1, "id": 9, "call": "sys.info", "timeout": "soon"}).id == 9
    assert refused({"v": 2, "id": 9, "call": "sys.info"}).id == 9
    assert refused({"id": 9, "call": "sys.info"}).id == 9
    assert refused({"v": 1, "id": 9, "call": "sys.info", "color": "red"}).id == 9
    assert refused({"v": 1, "id": 9, "call": "sys.info", "cancel": True}).id == 9
    assert refused({"v": 1, "id": 9, "cancel": True, "timeout": 3.0}).id == 9
    assert refused({"v": 1, "id": 9}).id == 9
    assert refused({"v": 1, "id": 0, "cancel": True}).id == NO_CALL
    assert refused({"v": 1, "cancel": True}).id == NO_CALL


def test_a_bad_frame_names_the_field() -> None:
    assert "timeout" in refused({"v": 1, "id": 9, "call": "sys.info", "timeout": "soon"}).message
    assert "color" in refused({"v": 1, "id": 9, "call": "sys.info", "color": 1}).message


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), float("-inf"), -1.0])
def test_a_time_out_that_is_no_time_is_refused(seconds: float) -> None:
    assert "timeout" in refused({"v": 1, "id": 9, "call": "sys.info", "timeout": seconds}).message
    with pytest.raises(InvalidArgument, match="timeout"):
        codec.decode_arguments("proc.wait", Raw(pack({"pid": 1, "timeout": seconds})))


@pytest.mark.parametrize(
    ("call", "arguments", "field"),
    [
        ("proc.info", {"pid": "one"}, "pid"),
        ("proc.info", {"pid": 1, "color": "red"}, "color"),
        ("proc.info", {}, "pid"),
        ("proc.info", {"pid": 0}, "pid"),
        ("proc.info", [], "array"),
        ("proc.spawn", {"limits": {"children": -1}}, "limits.children"),
        ("proc.spawn", {"name": "x" * 129}, "name"),
        ("ctx.append", {"pid": 1, "messages": [{"role": "boss", "content": ""}]}, "role"),
        ("ctx.append", {"pid": 1, "tokens": [1 << 31]}, "tokens"),
        ("gen.generate", {"pid": 1, "sampling": {"temperature": float("nan")}}, "temperature"),
    ],
)
def test_wrong_arguments_are_named(call: str, arguments: object, field: str) -> None:
    with pytest.raises(InvalidArgument, match=field):
        codec.decode_arguments(call, Raw(pack(arguments)))


def test_text_that_is_not_utf8_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError):
        codec.decode_arguments("proc.spawn", Raw(b"\x81\xa4name\xa2\xff\xfe"))


def test_an_unknown_call_is_not_supported_and_a_near_one_is_suggested() -> None:
    with pytest.raises(NotSupported) as caught:
        codec.decode_arguments("proc.spwan", Raw(b"\x80"))
    assert "proc.spawn" in caught.value.hint


def test_extension_types_fit_nowhere() -> None:
    extension = msgspec.msgpack.Ext(5, b"x")
    with pytest.raises(InvalidArgument):
        codec.decode_arguments("proc.info", Raw(pack({"pid": extension})))
    with pytest.raises(InvalidArgument):
        codec.decode_arguments("proc.info", Raw(pack(extension)))
    refused({"v": 1, "id": extension, "cancel": True})


def test_too_large_frames_are_refused_unread() -> None:
    with pytest.raises(MessageTooLong):
        codec.decode_request(bytes(MAX_FRAME + 1))
    with pytest.raises(MessageTooLong):
        codec.decode_response(bytes(MAX_REPLY + 1))
    message = ChatMessage(Role.USER, "x" * (1 << 20))
    with pytest.raises(MessageTooLong):
        codec.encode_call(1, "ctx.append", m.Append(1, messages=(message,) * 5))


@pytest.mark.parametrize("header", HUGE_HEADERS)
@pytest.mark.parametrize(
    "before", [b"", b"\x81\xa4args", b"\x84\xa1v\x01\xa2id\x07\xa4call\xa8sys.info\xa4args", b"\x81\xa6cancel"]
)
def test_a_header_that_lies_about_its_length_costs_nothing(header: bytes, before: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(BadFrame):
            codec.decode_request(before + header + b"\x01" * 1000)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("header", HUGE_HEADERS)
@pytest.mark.parametrize("field", ["tokens", "messages", "text", "pid"])
def test_an_argument_that_lies_about_its_length_costs_nothing(header: bytes, field: str) -> None:
    raw = Raw(b"\x81" + pack(field) + header + b"\x01" * 1000)
    tracemalloc.start()
    try:
        with pytest.raises((InvalidArgument, ProtocolError)):
            codec.decode_arguments("ctx.append", raw)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("opcode", [b"\x91", b"\x81\xa1a", b"\xdc\x00\x01"])
@pytest.mark.parametrize("before", [b"", b"\x84\xa1v\x01\xa2id\x07\xa4call\xa8sys.info\xa4args", b"\x81\xa2no"])
def test_nesting_to_any_depth_is_an_error_and_no_crash(opcode: bytes, before: bytes) -> None:
    data = before + opcode * ((MAX_FRAME - 100) // len(opcode)) + b"\xc0"
    with pytest.raises(BadFrame):
        codec.decode_request(data)
    with pytest.raises(BadFrame):
        codec.decode_response(b"\x82\xa2id\x01\xa2ok" + opcode * 1_000_000 + b"\xc0")


def test_the_costliest_frame_is_refused_within_a_second() -> None:
    body = b"\xdd" + struct.pack(">I", MAX_FRAME - 100) + b"\xc0" * (MAX_FRAME - 100)
    began = time.perf_counter()
    frame = codec.decode_request(
        b"\x84\xa1v\x01\xa2id\x07\xa4call\xaactx.append\xa4args\x82\xa3pid\x01\xa6tokens" + body
    )
    assert isinstance(frame, CallFrame)
    with pytest.raises(InvalidArgument, match="tokens"):
        codec.decode_arguments(frame.call, frame.args)
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize("request_type", [call.request for call in CALLS], ids=[call.name for call in CALLS])
def test_every_part_of_a_request_has_a_bound(request_type: type[Record]) -> None:
    """What makes the codec safe without a check of its own: no type of a request admits unlimited data."""
    require_bounds(inspect.type_info(request_type), depth=0)


def require_bounds(info: inspect.Type, depth: int) -> None:
    assert depth <= 6
    match info:
        case inspect.StructType(cls=cls, forbid_unknown_fields=strict, fields=fields):
            assert issubclass(cls, Record)
            assert strict
            for field in fields:
                require_bounds(field.type, depth + 1)
        case inspect.UnionType(types=types):
            for one in types:
                require_bounds(one, depth)
        case inspect.VarTupleType(item_type=item, max_length=longest):
            assert longest is not None
            require_bounds(item, depth + 1)
        case inspect.StrType(max_length=longest):
            assert longest is not None
        case inspect.IntType() as bounds:
            assert bounds.ge is not None or bounds.gt is not None
            assert bounds.le is not None or bounds.lt is not None
        case inspect.FloatType() as bounds:
            assert bounds.ge is not None or bounds.gt is not None
            assert bounds.le is not None or bounds.lt is not None
        case inspect.BytesType(max_length=longest):
            assert longest is not None
        case inspect.DictType(key_type=key, value_type=value, max_length=most):
            assert most is not None
            require_bounds(key, depth + 1)
            require_bounds(value, depth + 1)
        case inspect.RawType():
            pass  # not decoded: bounded by the frame that it comes in
        case inspect.EnumType() | inspect.BoolType() | inspect.NoneType():
            pass
        case _:
            pytest.fail(f"{info} is not allowed in a request")
