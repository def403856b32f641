"""The desk of the gate: calls come in authorised or not at all, and every one of them is answered once.

It does not know sockets or who is connected. Rules:

- Decode, authorise, check; then perform. Nothing is dispatched without the membrane's proof.
- Every call that has one leaves an entry in the audit log when it ends; so does every denial.
- Handlers' callbacks run from the loop itself, never inside a `reply`, `fail` or `event`.
- An `Error` that dispatch raises is the caller's fault and becomes the answer. Any other exception goes to
  the loop's exception handler, which the daemon makes fatal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import assert_never

from llmos.kernel.core.authority import Authorized
from llmos.kernel.gate.accounts import Bounds
from llmos.kernel.gate.channel import Channel, Ending
from llmos.kernel.gate.clients import Client, OpenCall
from llmos.kernel.gate.post import Post
from llmos.kernel.gate.recorder import Recorder
from llmos.kernel.security.membrane import Denied, Membrane
from llmos.syscalls.abi.apps import AppInstall, AppLogs
from llmos.syscalls.abi.errors import DeviceError, Error, InvalidArgument, MessageTooLong, ProtocolError, TryAgain
from llmos.syscalls.abi.files import FileRead, FileWatch
from llmos.syscalls.abi.mail import Subscribe
from llmos.syscalls.abi.messages import Generate
from llmos.syscalls.abi.table import Call
from llmos.syscalls.abi.tools import ToolRegister
from llmos.syscalls.abi.words import Record
from llmos.syscalls.wire import codec
from llmos.syscalls.wire.frames import MAX_REPLY, NO_CALL, BadFrame, CallFrame, CancelFrame, CreditFrame

Dispatch = Callable[[Authorized, Call, Record, Channel], None]
"""Begins a call; the answer goes through the channel, now or later. Raises an abi `Error` for the caller's fault."""

Strike = Callable[[Client, str], None]
"""Counts a misdeed of a client."""


class Desk:
    """Takes the frames of clients that are let in."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        membrane: Membrane,
        recorder: Recorder,
        dispatch: Dispatch,
        post: Post,
        bounds: Bounds,
        strike: Strike,
    ) -> None:
        self._loop = loop
        self._membrane = membrane
        self._recorder = recorder
        self._dispatch = dispatch
        self._post = post
        self._bounds = bounds
        self._strike = strike

    def take(self, client: Client, data: bytes | memoryview, now: float) -> None:
        """Handle one frame of a client."""
        try:
            self._open(client, data, now)
        except BadFrame as error:
            # An answer to an open id would end that call for the client, and it has not ended.
            self.refuse(client, NO_CALL if error.id in client.calls else error.id, error)
        except MessageTooLong as error:
            self.refuse(client, NO_CALL, error)

    def refuse(self, client: Client, id: int, error: Error) -> None:
        """Answer a frame that breaks the protocol; it costs a strike."""
        self._fail(client, id, error)
        self._strike(client, error.message)

    def recheck(self, client: Client) -> None:
        """The policy has changed: end the open calls that it forbids."""
        for id, open_call in list(client.calls.items()):
            # One that has ended may have taken another with it, as a tool its calls.
            if open_call.channel.over:
                continue
            if (error := self._forbidden(open_call.authorized)) is not None:
                open_call.channel.end(Ending.GONE)
                self._close_call(client, id, error.number.name)
                self._fail(client, id, error)

    def end_calls(self, client: Client, ending: Ending) -> None:
        """End all calls of a client."""
        for id, open_call in list(client.calls.items()):
            open_call.channel.end(ending)
            self._close_call(client, id, ending.value)

    def _open(self, client: Client, data: bytes | memoryview, now: float) -> None:
        frame = codec.decode_request(data)
        match frame:
            case CallFrame():
                self._begin(client, frame, now)
            case CreditFrame(id, credit):
                if (open_call := client.calls.get(id)) is not None:
                    open_call.channel.grant(credit)
            case CancelFrame(id):
                if (open_call := client.calls.get(id)) is not None:
                    open_call.channel.end(Ending.CANCELLED)
            case _:
                assert_never(frame)

    def _begin(self, client: Client, frame: CallFrame, now: float) -> None:
        """Decode, authorise, check; then perform."""
        who = client.account.principal
        try:
            self._check_turn(client, now)
            call = codec.find_call(frame.call)
            request = codec.decode_arguments(frame.call, frame.args)
            authorized = self._membrane.authorize_call(who, call, request)
            digest = self._recorder.log.digest(bytes(frame.args)) if call.contents else ""
            channel = self._admit(client, frame, request, authorized, digest)
        except Denied as denied:
            self._deny(client, frame.id, denied)
            return
        except ProtocolError as error:
            self.refuse(client, frame.id, error)
            return
        except Error as error:
            self._recorder.failed(who, frame.call, error)
            self._fail(client, frame.id, error)
            return
        self._perform(authorized, call, request, channel)

    def _perform(self, authorized: Authorized, call: Call, request: Record, channel: Channel) -> None:
        try:
            self._dispatch(authorized, call, request, channel)
        except Denied as denied:
            # A further object of the call: the call itself was allowed.
            self._recorder.denied(denied.denial)
            channel.fail(denied.denial.error())
        except Error as error:
            channel.fail(error)

    def _check_turn(self, client: Client, now: float) -> None:
        """Raise what stops a call of this client whatever it is."""
        early = client.account.wait_for_turn(now)
        if early:
            self._strike(client, "calls faster than its rate")
            raise TryAgain(f"this key makes more than {client.account.rate:g} calls a second", f"in {early:.3f} s")
        if self._recorder.log.failing:
            raise DeviceError(f"the audit log cannot be written: {self._recorder.log.failing}", "llmosctl doctor")

    def _admit(self, client: Client, frame: CallFrame, request: Record, authorized: Authorized, digest: str) -> Channel:
        if frame.id in client.calls:
            raise InvalidArgument(f"the call {frame.id} of this connection is still open", "give every call a new id")
        if len(client.calls) >= self._bounds.calls or client.account.calls >= self._bounds.key_calls:
            raise TryAgain(
                f"{len(client.calls)} calls of this connection and {client.account.calls} of this key are open, "
                "the most there may be",
                "wait for some of them",
            )
        channel = Channel(_CallOutlet(self, client, frame.id), _first_credit(request), client.bond)
        timer = None
        if frame.timeout is not None:
            timer = self._loop.call_later(frame.timeout, channel.end, Ending.TIMED_OUT)
        client.calls[frame.id] = OpenCall(channel, authorized, digest, timer)
        client.account.calls += 1
        return channel

    def _deny(self, client: Client, id: int, denied: Denied) -> None:
        self._recorder.denied(denied.denial)
        self._fail(client, id, denied.denial.error())

    def _forbidden(self, authorized: Authorized) -> Error | None:
        try:
            self._membrane.authorize_again(authorized)
        except Denied as denied:
            self._recorder.denied(denied.denial)
            return denied.denial.error()
        return None

    # --- out

    def _fail(self, client: Client, id: int, error: Error) -> None:
        self._post.send(client, codec.encode_error(id, error.failure()), id)

    def _answer(self, client: Client, id: int, data: bytes, outcome: str = "ok") -> None:
        """Send the last frame of a call."""
        if len(data) > MAX_REPLY:
            error = MessageTooLong(
                f"the answer has {len(data)} bytes; the limit is {MAX_REPLY}", "ask for less at once"
            )
            data = codec.encode_error(id, error.failure())
        self._close_call(client, id, outcome)
        self._post.send(client, data, id)

    def _event(self, client: Client, data: bytes) -> None:
        self._post.send(client, data)

    def _close_call(self, client: Client, id: int, outcome: str) -> None:
        open_call = client.calls.pop(id, None)
        if open_call is None:
            return
        client.account.calls -= 1
        self._recorder.done(open_call.authorized, outcome, open_call.digest)
        if open_call.timer is not None:
            open_call.timer.cancel()


class _CallOutlet:
    """The way out for the frames of one call."""

    __slots__ = ("_client", "_desk", "_id")

    def __init__(self, desk: Desk, client: Client, id: int) -> None:
        self._desk = desk
        self._client = client
        self._id = id

    def reply(self, record: Record) -> None:
        self._desk._answer(self._client, self._id, codec.encode_ok(self._id, record))

    def fail(self, error: Error) -> None:
        self._desk._answer(self._client, self._id, codec.encode_error(self._id, error.failure()), error.number.name)

    def event(self, record: Record) -> None:
        self._desk._event(self._client, codec.encode_event(self._id, record))


def _first_credit(request: Record) -> int:
    streams = Generate | Subscribe | ToolRegister | FileRead | FileWatch | AppInstall | AppLogs
    return request.window if isinstance(request, streams) else 0
