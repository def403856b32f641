"""MessagePack bytes to typed envelopes and back, under hard limits.

It does not know sockets, principals or what calls do. Rules:

- Whatever the bytes are, decoding ends in a frame or in `ProtocolError` (often `BadFrame`), `MessageTooLong`,
  `InvalidArgument` or `NotSupported`.
- Memory and time are bounded by the size of the frame: containers grow only as their elements are read, so a
  header that lies about its length costs nothing. Nesting is bounded by the interpreter's recursion limit
  while it is skipped, and by the request's type once it is read. Every string, array and number of a request
  has a bound in its type; extension types fit none.
- Two steps, so that a refusal finds its caller: `decode_request` reads the envelope, `decode_arguments` the
  rest.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Literal, NoReturn, TypeVar

import msgspec
from msgspec import UNSET, DecodeError, Meta, Raw, Struct, UnsetType, ValidationError

from llmos.syscalls.abi.errors import Failure, InvalidArgument, MessageTooLong, NotSupported, ProtocolError
from llmos.syscalls.abi.table import BY_NAME, CALLS, Call
from llmos.syscalls.abi.words import PROTOCOL_VERSION, Record, Seconds
from llmos.syscalls.wire.frames import (
    MAX_CREDIT,
    MAX_FRAME,
    MAX_ID,
    MAX_REPLY,
    NO_CALL,
    BadFrame,
    CallFrame,
    CancelFrame,
    CreditFrame,
    ErrorFrame,
    EventFrame,
    OkFrame,
    PingFrame,
    ReplyFrame,
    RequestFrame,
)

R = TypeVar("R", bound=Record)

_UNREADABLE = (DecodeError, UnicodeDecodeError, RecursionError)
_Id = Annotated[int, Meta(ge=1, le=MAX_ID)]
_NOTHING = Raw(b"\x80")


class _ToKernel(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """All envelopes to the kernel in one: exactly one of `call`, `cancel` and `credit` is there."""

    v: int
    id: _Id
    call: Annotated[str, Meta(max_length=64)] | UnsetType = UNSET
    args: Raw | UnsetType = UNSET
    timeout: Seconds | None = None
    cancel: Literal[True] | UnsetType = UNSET
    credit: Annotated[int, Meta(ge=1, le=MAX_CREDIT)] | UnsetType = UNSET


class _ToClient(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """All envelopes to a client in one: exactly one of `ok`, `err`, `ev` and `ping` is there."""

    id: Annotated[int, Meta(ge=0, le=MAX_ID)] = NO_CALL
    ok: Raw | UnsetType = UNSET
    err: Failure | UnsetType = UNSET
    ev: Raw | UnsetType = UNSET
    ping: int | UnsetType = UNSET
    next_server: Annotated[str, Meta(min_length=40, max_length=40)] | None = None


class _Ok(Struct, frozen=True):
    """A reply as it leaves: encoded in one go, because it may be large."""

    id: int
    ok: Record


class _Event(Struct, frozen=True):
    """An event as it leaves."""

    id: int
    ev: Record


class _CallToKernel(Struct, frozen=True, omit_defaults=True):
    """A call as it leaves."""

    v: int
    id: int
    call: str
    args: Record
    timeout: float | None = None


class _AnyError(Struct, frozen=True):
    """What an error reply must always have, its id, even when it is `NO_CALL`."""

    id: int
    err: Failure


class _OnlyId(Struct, frozen=True):
    """The id of a frame that is wrong otherwise."""

    id: _Id


_ENCODER = msgspec.msgpack.Encoder()
_TO_KERNEL = msgspec.msgpack.Decoder(_ToKernel)
_TO_CLIENT = msgspec.msgpack.Decoder(_ToClient)
_ID = msgspec.msgpack.Decoder(_OnlyId)
_ARGUMENTS = {call.name: msgspec.msgpack.Decoder(call.request) for call in CALLS}


# --- the kernel's side


def decode_request(data: bytes | memoryview) -> RequestFrame:
    """Read a client's envelope. Raises `MessageTooLong`, or `BadFrame` with the id if that could be read."""
    _limit(len(data), MAX_FRAME)
    try:
        frame = _TO_KERNEL.decode(data)
    except _UNREADABLE as error:
        _refuse(data, _reason(error))
    if frame.v != PROTOCOL_VERSION:
        raise BadFrame(f"protocol version {frame.v} is not known here", frame.id, f"send v: {PROTOCOL_VERSION}")
    if frame.call is not UNSET and frame.cancel is UNSET and frame.credit is UNSET:
        arguments = _NOTHING if frame.args is UNSET else frame.args
        return CallFrame(frame.id, frame.call, arguments, frame.timeout)
    return _control_frame(frame)


def decode_arguments(call: str, raw: Raw) -> Record:
    """Read the arguments of a call. Raises `NotSupported` (no such call) or `InvalidArgument`."""
    decoder = _ARGUMENTS.get(call)
    try:
        return decoder.decode(raw) if decoder is not None else _unknown(call)
    except ValidationError as error:
        raise InvalidArgument(f"{call}: {error}", "docs/abi.md lists the arguments of every call") from None
    except _UNREADABLE as error:
        raise ProtocolError(f"{call}: {_reason(error)}") from None


def find_call(name: str) -> Call:
    """The row of the table; raises `NotSupported` when there is none."""
    return BY_NAME.get(name) or _unknown(name)


def encode_ok(id: int, reply: Record) -> bytes:
    """The reply of a call."""
    return _ENCODER.encode(_Ok(id, reply))


def encode_error(id: int, failure: Failure) -> bytes:
    """The failure of a call; `NO_CALL` when it is not known which."""
    return _ENCODER.encode(_AnyError(id, failure))


def encode_event(id: int, event: Record) -> bytes:
    """One event of a stream."""
    return _ENCODER.encode(_Event(id, event))


def encode_ping(next_server: str | None = None) -> bytes:
    """A sign of life, and during a rotation the daemon's key that follows."""
    return _ENCODER.encode({"ping": 1} if next_server is None else {"ping": 1, "next_server": next_server})


# --- the client's side


def encode_call(id: int, call: str, request: Record, timeout: float | None = None) -> bytes:
    """A call. Raises `MessageTooLong`."""
    data = _ENCODER.encode(_CallToKernel(PROTOCOL_VERSION, id, call, request, timeout))
    _limit(len(data), MAX_FRAME)
    return data


def encode_cancel(id: int) -> bytes:
    """Stop a call."""
    return _ENCODER.encode(_ToKernel(PROTOCOL_VERSION, id, cancel=True))


def encode_credit(id: int, credit: int) -> bytes:
    """Allow a stream more events."""
    return _ENCODER.encode(_ToKernel(PROTOCOL_VERSION, id, credit=credit))


def decode_response(data: bytes) -> ReplyFrame:
    """Read the kernel's envelope. Raises `MessageTooLong` or `BadFrame`."""
    _limit(len(data), MAX_REPLY)
    try:
        frame = _TO_CLIENT.decode(data)
    except _UNREADABLE as error:
        _refuse(data, _reason(error))
    return _response(frame)


def decode_record(kind: type[R], raw: Raw) -> R:
    """Read what `ok` or `ev` carries; the table says which type that is. Raises `ProtocolError`."""
    try:
        return msgspec.msgpack.decode(raw, type=kind)
    except _UNREADABLE as error:
        raise ProtocolError(f"no {kind.__name__}: {_reason(error)}") from None


# --- parts


def _unknown(name: str) -> NoReturn:
    close = get_close_matches(name, BY_NAME, n=1)
    raise NotSupported(f"no call is named {name!r}", f"did you mean {close[0]}?" if close else "")


def _control_frame(frame: _ToKernel) -> CancelFrame | CreditFrame:
    if frame.call is UNSET and frame.args is UNSET and frame.timeout is None:
        if frame.cancel is not UNSET and frame.credit is UNSET:
            return CancelFrame(frame.id)
        if frame.credit is not UNSET and frame.cancel is UNSET:
            return CreditFrame(frame.id, frame.credit)
    raise BadFrame("a message is exactly one of call, cancel and credit", frame.id)


def _response(frame: _ToClient) -> ReplyFrame:
    match frame:
        case _ToClient(ok=Raw() as ok, err=UnsetType(), ev=UnsetType(), ping=UnsetType()) if frame.id:
            return OkFrame(frame.id, ok)
        case _ToClient(ok=UnsetType(), err=UnsetType(), ev=Raw() as event, ping=UnsetType()) if frame.id:
            return EventFrame(frame.id, event)
        case _ToClient(ok=UnsetType(), err=Failure() as failure, ev=UnsetType(), ping=UnsetType()):
            return ErrorFrame(frame.id, failure)
        case _ToClient(ok=UnsetType(), err=UnsetType(), ev=UnsetType(), ping=int()):
            return PingFrame(frame.next_server)
        case _:
            raise BadFrame("a message is exactly one of ok, err, ev and ping", frame.id)


def _limit(size: int, limit: int) -> None:
    if size > limit:
        hint = "send a long context in several appends"
        raise MessageTooLong(f"a message of {size} bytes; the limit is {limit}", hint)


def _refuse(data: bytes | memoryview, reason: str) -> NoReturn:
    try:
        id = _ID.decode(data).id
    except _UNREADABLE:
        id = NO_CALL
    raise BadFrame(f"no message of this protocol: {reason}", id, "docs/abi.md describes the bytes") from None


def _reason(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)
