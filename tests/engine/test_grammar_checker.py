"""The process that compiles grammars first: it says what is wrong, and what costs too much ends it alone."""

from __future__ import annotations

import json
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from llmos.drivers.engine.grammar_checker import Checker
from llmos.kernel.ports.engine import Grammar, GrammarKind
from llmos.syscalls.abi.errors import DeviceError, Error, InvalidArgument, TryAgain

pytestmark = pytest.mark.e2e

ENDLESS = json.dumps({"allOf": [{"type": "string", "pattern": f"[ab]*a[ab]{{{count}}}"} for count in range(50)]})


def schema(text: str) -> Grammar:
    return Grammar(GrammarKind.SCHEMA, text)


def regex(text: str) -> Grammar:
    return Grammar(GrammarKind.REGEX, text)


@pytest.fixture
def checker(adversary: Path) -> Iterator[Checker]:
    made = Checker(adversary)
    before = {child.pid for child in psutil.Process().children()}
    yield made
    made.close()
    assert {child.pid for child in psutil.Process().children()} <= before


@pytest.mark.parametrize(
    "grammar", [schema("{}"), schema(" true "), schema('{"type": "array"}'), regex(""), regex("ä+")]
)
def test_what_can_be_written_is_good(checker: Checker, grammar: Grammar) -> None:
    checker.check(grammar)


@pytest.mark.parametrize(
    ("grammar", "reason"),
    [
        (schema(""), "EOF"),
        (schema("[1]"), "object"),
        (schema("null"), "object"),
        (schema('{"type": "nothing"}'), "nothing"),
        (schema('{"$ref": "#/nowhere"}'), "nowhere"),
        (schema('{"$ref": "http://example.com/schema"}'), "example"),
        (schema('{"uniqueItems": true}'), "uniqueItems"),
        (schema('{"minimum": 3, "maximum": 1, "type": "integer"}'), "Unsatisfiable"),
        (schema('{"items":' * 500 + "{}" + "}" * 500), "recursion"),
        (regex("(["), "unclosed"),
        (regex(r"(a)\1"), "backreferences"),
    ],
)
def test_what_is_wrong_is_said(checker: Checker, grammar: Grammar, reason: str) -> None:
    with pytest.raises(InvalidArgument, match=reason):
        checker.check(grammar)


def test_what_costs_too_much_is_ended_and_the_next_one_is_checked(checker: Checker) -> None:
    for grammar in (schema(ENDLESS), regex("(a{1000}){1000}")):
        with pytest.raises(InvalidArgument):
            checker.check(grammar)
        checker.check(regex("a"))


def test_closing_ends_a_check_under_way(adversary: Path) -> None:
    checker, errors = Checker(adversary), []
    checker.check(regex("a"))

    def check() -> None:
        try:
            checker.check(schema(ENDLESS))
        except Error as error:
            errors.append(error)

    thread = threading.Thread(target=check)
    thread.start()
    checker.close()
    thread.join()
    assert len(errors) == 1
    with pytest.raises(TryAgain, match="shutting down"):
        checker.check(regex("a"))


def test_a_process_that_never_was_ready_is_no_fault_of_a_grammar(tmp_path: Path) -> None:
    checker = Checker(tmp_path)
    for _ in range(2):
        with pytest.raises(DeviceError, match="no process that checks grammars can be started"):
            checker.check(regex("a"))
    checker.close()


def test_a_process_that_cannot_be_started_is_tried_again_at_the_next_check(checker: Checker) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        with pytest.raises(DeviceError, match="Too many open files"):
            checker.check(regex("a"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    checker.check(regex("a"))
