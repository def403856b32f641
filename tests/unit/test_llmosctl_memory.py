"""How metadata and conditions are typed on the command line."""

from __future__ import annotations

import click
import pytest

from llmos.apps.llmosctl.memory_words import Comparing, Given, Metadata, conditions, metadata_of


@pytest.mark.parametrize(
    ("typed", "given"),
    [
        ("lang=en", Given("lang", "=", "en")),
        ("year=2024", Given("year", "=", 2024)),
        ("year>=2000.5", Given("year", ">=", 2000.5)),
        ("year < 7", Given("year", "<", 7)),
        ("ok!=true", Given("ok", "!=", True)),
        ('code="7"', Given("code", "=", "7")),
        ("url=http://x?a=b", Given("url", "=", "http://x?a=b")),
        ("empty=", Given("empty", "=", "")),
        ("list=[1]", Given("list", "=", "[1]")),
        ("none=null", Given("none", "=", "null")),
    ],
)
def test_what_reads_as_json_is_that_and_the_rest_is_text(typed: str, given: Given) -> None:
    found = Comparing().convert(typed, None, None)
    assert found == given
    assert type(found.value) is type(given.value)


@pytest.mark.parametrize("typed", ["lang", "=en", "", "a~b"])
def test_what_is_no_condition_is_a_usage_error(typed: str) -> None:
    with pytest.raises(click.BadParameter, match="KEY=VALUE"):
        Comparing().convert(typed, None, None)


def test_metadata_does_not_compare() -> None:
    assert Metadata().convert("a=1", None, None) == Given("a", "=", 1)
    with pytest.raises(click.BadParameter, match="KEY>VALUE"):
        Metadata().convert("a>1", None, None)


def test_conditions_add_up_and_of_metadata_the_last_counts() -> None:
    given = [Given("year", ">", 1), Given("year", "<", 9), Given("lang", "=", "en")]
    assert conditions(given) == {"year": [(">", 1), ("<", 9)], "lang": [("=", "en")]}
    assert metadata_of(given) == {"year": 9, "lang": "en"}
