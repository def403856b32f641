"""Logs: nothing that says who somebody is stays in them, however it is written."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.apps.customer_service.anonymise import HIDDEN, anonymous, vocabulary
from llmos.apps.customer_service.conversation import Outcome, Reply
from llmos.apps.customer_service.journal import Journal
from llmos.apps.customer_service.words import words

KNOWN = vocabulary(
    [
        "Mark the package and reset the password of the printer. The order has not arrived yet, it will be late in may."
        "Each house has a number, and its rose is brown. Will is a name. please ask the staff, or write to the office"
    ]
)

NASTY = {
    "Jane Doe ordered a printer": ["jane", "doe"],
    "my name is Mark Brown and my order 4711-22 has not arrived": ["mark", "brown", "4711", "22"],
    "my name is mark brown": ["mark", "brown"],
    "I'm Rose, where is the order?": ["rose"],
    "mail jane.doe+shop@example.com please": ["jane", "doe", "example"],
    "mail j\u200bane\u200b@exam\u00adple.com please": ["jane", "example", "exam"],
    "jane dot doe at example dot com": ["jane", "doe", "example", "com"],
    "write to ｊａｎｅ＠ｅｘａｍｐｌｅ．ｃｏｍ": ["jane", "example"],
    "call +49 (0)30 123 456-7 or ０１２３": ["49", "30", "123", "456", "7", "0123"],
    "call me on 555.0199": ["555", "0199"],
    "my number is four seven one one": ["four", "seven"],
    "order No.A-4711/B, order#99": ["4711", "99", "a-4711"],
    "I live at 12 Rose Lane, Springfield.": ["12", "rose", "lane", "springfield"],
    "12 rose lane": ["12"],
    "Regards,\nWill Brown": ["will", "brown"],
    "Regards, rose brown": ["rose", "brown"],
    "Dear Mr. Brown": ["brown"],
    "https://shop.example/orders/4711?name=jane": ["shop", "4711", "jane"],
    "the file is /home/jane/letter.txt": ["jane", "letter"],
    "DE89 3704 0044 0532 0130 00": ["89", "3704", "0532"],
    "born on 3 May 1984": ["1984", "3"],
    "O'Brien's printer": ["o'brien", "brien"],
    "Ⓙohn Müller aus Köln": ["john", "müller", "köln"],
    "Јаne Dое ordered": ["јаne", "dое"],
    "IVAN PETROV PRINTER": ["ivan", "petrov"],
    "李小龙 has a printer": ["李小龙"],
    "please ask my wife Rose about the order": ["rose"],
    "password is rose": ["rose"],
}


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_nothing_that_identifies_stays(text: str) -> None:
    told = words(anonymous(text, KNOWN))
    assert not set(told) & set(NASTY[text]), anonymous(text, KNOWN)
    assert not any(letter.isdigit() for letter in "".join(told))


def test_what_is_harmless_stays_readable() -> None:
    assert (
        anonymous("How do I reset the password of the printer?", KNOWN) == "how do i reset the password of the printer?"
    )
    assert anonymous("It has not arrived yet. Is my order late?", KNOWN) == "it has not arrived yet. is my order late?"


def test_a_name_that_is_an_ordinary_word_in_small_letters_is_what_cannot_be_seen() -> None:
    assert anonymous("brown has the package", KNOWN) == "brown has the package"


@given(st.text(max_size=300))
def test_whatever_is_written_only_known_words_stay(text: str) -> None:
    told = anonymous(text, KNOWN)
    allowed = KNOWN | set(words(anonymous("", KNOWN)))
    bare = told.replace(HIDDEN, " ")
    assert not any(letter.isdigit() or letter == "@" for letter in bare)
    assert (
        not {word for word in words(bare) if len(word) > 7}
        - allowed
        - {"ourselves", "yourself", "yourselves", "themselves"}
    )


@given(
    st.text("bcdfghjklmnpqrstvwxz", min_size=4, max_size=12),
    st.sampled_from(["{} ordered", "it is {}", "ask {}, please", "({})", "x{}y"]),
)
def test_a_word_that_no_document_has_never_stays(secret: str, where: str) -> None:
    assert secret not in anonymous(where.format(secret), KNOWN)


def test_a_line_of_the_log_has_neither_the_customer_nor_the_ticket() -> None:
    lines: list[str] = []
    reply = Reply("Your ticket is T-ABC", Outcome.HANDED_OVER, ticket="T-ABC", confidence=0.1)
    Journal(KNOWN, lines.append).replied("0123456789abcdef", 7, "I am Jane Doe, jane@example.com", reply, 0.1, 0.2)
    (line,) = lines
    assert "jane" not in line.lower()
    assert "T-ABC" not in line
    entry = json.loads(line)
    assert (entry["outcome"], entry["customer"], entry["question"]) == (
        "handed over",
        "0123456789ab",
        "i am [...], [...]",
    )
