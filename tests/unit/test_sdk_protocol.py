"""The client's state machine and the link's, without sockets, threads or a clock."""

from __future__ import annotations

import msgspec
import pytest

from llmos.syscalls.abi import messages as m
from llmos.syscalls.abi.errors import (
    Busy,
    DeviceError,
    PermissionDenied,
    ProtocolError,
    TimedOut,
    TryAgain,
)
from llmos.syscalls.sdk.link import HANDSHAKE_SECONDS, NOBODY_SECONDS, Link, LinkState, Report
from llmos.syscalls.sdk.protocol import ClientProtocol, Failed, Happened, Replied, Window
from llmos.syscalls.wire.codec import (
    decode_request,
    encode_call,
    encode_error,
    encode_event,
    encode_ok,
    encode_ping,
)
from llmos.syscalls.wire.frames import NO_CALL, CancelFrame, CreditFrame

CALL = encode_call(1, "sys.info", m.Nothing())


def protocol_with_calls(*ids: int) -> ClientProtocol:
    protocol = ClientProtocol()
    for id in ids:
        protocol.start(id, CALL)
    protocol.outgoing.clear()
    return protocol


def test_a_call_goes_out_and_its_reply_ends_it() -> None:
    protocol = ClientProtocol()
    protocol.start(1, CALL)
    assert list(protocol.outgoing) == [CALL]
    (delivery,) = protocol.receive(encode_ok(1, m.Done()))
    assert delivery.id == 1
    assert isinstance(delivery.event, Replied)
    assert protocol.open_calls == 0
    assert protocol.receive(encode_ok(1, m.Done())) == ()


def test_replies_find_their_calls_in_any_order() -> None:
    protocol = protocol_with_calls(1, 2, 3)
    order = [protocol.receive(encode_ok(id, m.Done()))[0].id for id in (3, 1, 2)]
    assert order == [3, 1, 2]


def test_an_error_becomes_its_exception() -> None:
    protocol = protocol_with_calls(4)
    (delivery,) = protocol.receive(encode_error(4, Busy("it is generating", "wait").failure()))
    assert isinstance(delivery.event, Failed)
    assert isinstance(delivery.event.error, Busy)
    assert delivery.event.error.hint == "wait"


def test_events_come_until_the_reply_and_not_after_it() -> None:
    protocol = protocol_with_calls(4)
    event = encode_event(4, m.Chunk("a", (1,)))
    assert isinstance(protocol.receive(event)[0].event, Happened)
    assert isinstance(protocol.receive(encode_ok(4, m.Done()))[0].event, Replied)
    assert protocol.receive(event) == ()


def test_a_ping_and_an_unknown_id_deliver_nothing() -> None:
    protocol = protocol_with_calls(4)
    assert protocol.receive(encode_ping()) == ()
    assert protocol.receive(encode_ok(5, m.Done())) == ()
    assert protocol.open_calls == 1


def test_an_error_without_a_call_fails_all_of_them() -> None:
    protocol = protocol_with_calls(4, 5)
    lost = protocol.receive(encode_error(NO_CALL, ProtocolError("no message").failure()))
    assert [delivery.id for delivery in lost] == [4, 5]
    assert protocol.open_calls == 0


def test_bytes_that_are_no_message_are_an_error() -> None:
    with pytest.raises(ProtocolError):
        ClientProtocol().receive(b"\xc1")


def test_a_cancelled_call_still_gets_its_reply() -> None:
    protocol = protocol_with_calls(4)
    protocol.cancel(4)
    assert [decode_request(frame) for frame in protocol.outgoing] == [CancelFrame(4)]
    assert len(protocol.receive(encode_ok(4, m.Done()))) == 1
    protocol.outgoing.clear()
    protocol.cancel(4)
    assert not protocol.outgoing


def test_an_abandoned_call_is_cancelled_and_gets_nothing() -> None:
    protocol = protocol_with_calls(4)
    protocol.abandon(4)
    assert [decode_request(frame) for frame in protocol.outgoing] == [CancelFrame(4)]
    assert protocol.receive(encode_ok(4, m.Done())) == ()


def test_credit_goes_out_for_open_streams_only() -> None:
    protocol = protocol_with_calls(4)
    protocol.credit(4, 32)
    protocol.credit(5, 32)
    assert [decode_request(frame) for frame in protocol.outgoing] == [CreditFrame(4, 32)]


def test_a_call_whose_deadline_passes_fails_and_is_cancelled() -> None:
    protocol = ClientProtocol()
    protocol.start(1, CALL, deadline=10.0)
    protocol.start(2, CALL, deadline=5.0)
    protocol.start(3, CALL)
    assert protocol.next_deadline() == 5.0
    assert protocol.expire(4.9) == []
    (late,) = protocol.expire(5.0)
    assert late.id == 2
    assert isinstance(late.event, Failed)
    assert isinstance(late.event.error, TimedOut)
    assert decode_request(protocol.outgoing[-1]) == CancelFrame(2)
    protocol.receive(encode_ok(1, m.Done()))
    assert protocol.next_deadline() is None
    assert protocol.open_calls == 1


def test_losing_the_connection_fails_every_call_and_forgets_what_was_not_sent() -> None:
    protocol = ClientProtocol()
    protocol.start(1, CALL)
    lost = protocol.lose(DeviceError("gone"))
    assert [delivery.id for delivery in lost] == [1]
    assert not protocol.outgoing


@pytest.mark.parametrize("size", [1, 2, 3, 64])
def test_a_window_never_lets_the_stream_run_dry(size: int) -> None:
    window, credit = Window(size), size
    for _ in range(1000):
        assert credit > 0
        credit += window.consume() - 1
        assert credit <= size


def test_a_reply_of_another_type_is_a_protocol_error() -> None:
    from llmos.syscalls.sdk import requests

    raw = msgspec.Raw(msgspec.msgpack.encode({"what": 1}))
    with pytest.raises(ProtocolError, match="Context"):
        requests.read(1).result(Replied(raw))


# --- the link


def link() -> Link:
    return Link("ipc://somewhere", "alice", give_up_at=NOBODY_SECONDS)


def test_a_link_is_up_when_the_handshake_succeeded_and_lost_when_it_ends() -> None:
    one = link()
    one.observe(Report.CONNECTED, 0.1)
    assert one.give_up_at == 0.1 + HANDSHAKE_SECONDS
    states = [one.state]
    for moment, report in ((0.2, Report.ACCEPTED), (0.3, Report.DISCONNECTED)):
        one.observe(report, moment)
        states.append(one.state)
    assert states == [LinkState.GREETING, LinkState.UP, LinkState.LOST]


@pytest.mark.parametrize("report", [Report.KEY_REFUSED, Report.NO_CURVE])
def test_a_refused_handshake_is_final(report: Report) -> None:
    one = link()
    for seen in (Report.CONNECTED, report, Report.DISCONNECTED, Report.CONNECTED):
        one.observe(seen, 0.1)
    assert one.state is LinkState.REFUSED
    assert isinstance(one.refusal, PermissionDenied)


def test_one_broken_handshake_is_an_accident_and_three_are_the_wrong_daemon() -> None:
    one = link()
    for _ in range(2):
        for seen in (Report.CONNECTED, Report.HANDSHAKE_BROKEN, Report.DISCONNECTED):
            one.observe(seen, 0.1)
        assert one.state is LinkState.SEEKING
        assert one.give_up_at <= 0.1 + NOBODY_SECONDS
    one.observe(Report.CONNECTED, 0.2)
    one.observe(Report.HANDSHAKE_BROKEN, 0.2)
    assert one.state is LinkState.REFUSED


def test_the_error_of_absence_tells_silence_from_nobody() -> None:
    one = link()
    assert isinstance(one.absence(), TryAgain)
    assert one.absence().hint == "llmosctl up"
    one.observe(Report.CONNECTED, 0.1)
    assert "does not answer" in one.absence().message
    one.wait_again(50.0)
    assert one.give_up_at == 50.0 + HANDSHAKE_SECONDS
