"""An answer that is interrupted comes out as if nothing had happened: whatever dies, and however often."""

from __future__ import annotations

import signal

import pytest

import llmos
from llmos.apps.assistant.tests.app_site import App, AppSite

QUESTION = "Explain in a few sentences how rain forms."
MOST = ("--max-tokens", "32")


@pytest.fixture(scope="session")
def expected(site: AppSite) -> bytes:
    """The answer of a session that nobody interrupts."""
    return site.say("whole", QUESTION, most=32)[0].encode()


def begin(site: AppSite, session: str, *arguments: str) -> App:
    """A run of a session."""
    return site.start("--session", session, *MOST, *arguments)


def test_an_answer_comes_out_whole_however_often_the_app_is_killed(site: AppSite, expected: bytes) -> None:
    app = begin(site, "killed")
    app.type(QUESTION)
    shown = b""
    for count in (1, 20, 7, 40):
        shown += app.read(count)
        shown += app.kill()
        assert expected.startswith(shown)
        app = begin(site, "killed")
    rest, errors, status = app.end()
    assert (shown + rest).decode() == expected.decode()
    assert "goes on behind" in errors or shown == expected
    assert status == 0
    assert site.say("killed", "/transcript")[0] == f"> {QUESTION}\n{expected.decode()}"


def test_an_answer_goes_on_when_the_daemon_was_killed_and_when_both_were(site: AppSite, expected: bytes) -> None:
    app = begin(site, "daemon")
    app.type(QUESTION)
    shown = app.read(30)
    site.restart_daemon()
    shown += app.read(60)
    assert expected.startswith(shown)
    site.daemon.kill()
    shown += app.kill()
    assert expected.startswith(shown)
    site.restart_daemon()
    rest, errors, _ = begin(site, "daemon").end()
    assert (shown + rest).decode() == expected.decode(), errors
    with site.connect() as system:
        (held,) = [one for one in system.processes() if one.name == "assistant daemon"]
        assert expected.decode().strip() in system.process(held.pid).read().text


def test_a_signal_ends_it_cleanly_in_mid_answer_and_the_answer_goes_on(site: AppSite, expected: bytes) -> None:
    app = begin(site, "signal")
    app.type(QUESTION)
    shown = app.read(10)
    rest, _, status = app.end(signal.SIGTERM)
    assert status == 0
    shown += rest
    assert expected.startswith(shown)
    assert (shown + begin(site, "signal").end()[0]).decode() == expected.decode()


def test_who_says_what_he_has_received_gets_exactly_the_rest(site: AppSite, expected: bytes) -> None:
    assert begin(site, "whole", "--shown", "10").end()[0] == expected[10:]


def test_a_session_belongs_to_whoever_opened_it_last(site: AppSite) -> None:
    first = begin(site, "shared")
    first.type("What is 2 + 2?")
    assert first.read(2) == b"4\n"
    assert site.say("shared", "What is 3 + 3?")[0] == "6\n"
    first.type("What is 4 + 4?")
    out, errors, status = first.end()
    assert (out, status) == (b"", 1)
    assert "goes on elsewhere" in errors
    assert site.say("shared", "/transcript")[0] == "> What is 2 + 2?\n4\n> What is 3 + 3?\n6\n"


def test_a_transcript_with_a_torn_end_is_opened_and_goes_on(site: AppSite) -> None:
    site.say("torn", "What is 2 + 2?")
    with site.connect() as system, system.files.open("sessions/torn.log", "a") as file:
        file.write(b'deadbeef {"type":"Asked","te')
    assert site.say("torn", "What is 3 + 3?", "/transcript")[0] == "6\n> What is 2 + 2?\n4\n> What is 3 + 3?\n6\n"


def test_a_process_that_somebody_has_ended_or_changed_is_made_anew(site: AppSite) -> None:
    site.say("anew", "What is 2 + 2?", "/remember My cat is called Tom.", "/recall cat")
    with site.connect() as system:
        (held,) = [one for one in system.processes() if one.name == "assistant anew"]
        before = system.process(held.pid).read()
        system.process(held.pid).truncate(3)
        site.say("anew", "/sessions")
        (held,) = [one for one in system.processes() if one.name == "assistant anew"]
        after = system.process(held.pid).read()
    assert after.token_ids == before.token_ids
    assert {one.origin.kind for one in after.spans} >= {llmos.OriginKind.TOOL, llmos.OriginKind.MEMORY}
