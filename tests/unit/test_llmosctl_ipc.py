"""What llmosctl makes of bodies and mailboxes."""

from __future__ import annotations

import pytest

from llmos.apps.llmosctl.ipc import body_text, mailbox_lines, meant
from llmos.syscalls.abi.mail import MailboxInfo
from llmos.syscalls.sdk.mail_requests import Letter


@pytest.mark.parametrize(
    ("typed", "value"), [("hello", "hello"), ("7", 7), ('{"a": [1]}', {"a": [1]}), ("null", None), ("[1", "[1")]
)
def test_a_body_that_reads_as_json_is_that(typed: str, value: object) -> None:
    assert meant(typed, text=False) == value
    assert meant(typed, text=True) == typed


@pytest.mark.parametrize(
    ("body", "line"), [("é", "é"), ({"a": 1}, '{"a": 1}'), (b"\x00", '"AA=="'), ({1: None}, '{"1": null}')]
)
def test_a_body_is_printed_on_a_line(body: object, line: str) -> None:
    assert body_text(Letter(1, 2, body, "alice", 0.0)) == line


def test_a_mailbox_says_how_full_it_is() -> None:
    lines = mailbox_lines(MailboxInfo(7, 1, 2, 3, 4, ("alice/news",)))
    assert lines[0].split() == ["waiting", "1"]
    assert lines[-1].split() == ["topics", "alice/news"]
