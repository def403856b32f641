"""Documents: what is read from each kind, and that no bytes do more than be refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.apps.customer_service.documents import KINDS, parse
from llmos.apps.customer_service.passages import passages
from llmos.apps.customer_service.sections import NotADocument, Section, SectionKind
from llmos.apps.customer_service.words import words

PAGE = """
<html><head><title>Shop</title><style>p { color: red }</style></head><body>
<div class="navheader"><a href="x">Next page</a></div><ul class="toc"><li>Contents</li></ul>
<h1>Chapter 2. Returns</h1><p>Within <b>30&nbsp;days</b>.<br/>Free of charge.</p>
<h2>2.1. How do I return it?<a class="headerlink" href="#r">¶</a></h2>
<p>Print the label.</p><pre>lpr  label.pdf
done</pre><script>alert("x")</script>
<ol><li>Pack it</li><li>Send it</li></ol></body></html>
"""


def test_html_is_what_stands_under_its_headings_without_navigation_numbers_and_scripts() -> None:
    assert parse("shop.html", PAGE.encode()) == (
        Section("Returns", "Within 30 days.\nFree of charge."),
        Section("How do I return it?", "Print the label.\n\nlpr  label.pdf\ndone\n\nPack it\n\nSend it"),
    )


def test_markdown_is_sections_with_code_as_it_is() -> None:
    text = "Intro [here](http://x.y).\n\n# Ways to *pay*\nBy **card**.\n```\n# no heading\n```\n"
    text += "Shipping\n--------\nTwo days.\n"
    assert parse("a.md", text.encode()) == (
        Section("", "Intro here."),
        Section("Ways to *pay*", "By card.\n```\n# no heading\n```"),
        Section("Shipping", "Two days."),
    )


def test_a_first_line_of_a_text_that_stands_alone_is_its_heading() -> None:
    assert parse("a.txt", b"\xef\xbb\xbfOpening hours\n\nNine to five.\n") == (
        Section("Opening hours", "Nine to five."),
    )
    assert parse("a.txt", b"Nine to five.\nNot on Sundays.") == (Section("", "Nine to five.\nNot on Sundays."),)


def test_questions_and_answers_are_taken_once_and_what_is_no_pair_is_left_out() -> None:
    text = """
categories: [shop]
conversations:
- - Do you ship abroad?
  - To all of Europe.
- - Do you ship abroad?
  - To all of Europe.
- - In what year?
  - 1984
- just a line
- - only a question
- - [nested, list]
  - answer
"""
    assert parse("a.yml", text.encode()) == (
        Section("Do you ship abroad?", "To all of Europe.", SectionKind.ANSWER),
        Section("In what year?", "1984", SectionKind.ANSWER),
    )


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("a.pdf", b"x", "only"),
        ("a.txt", b"\xff\xfe", "not UTF-8"),
        ("a.txt", b" \n ", "nothing to read"),
        ("a.html", b"<script>x</script>", "nothing to read"),
        ("a.yml", b"conversations: 7", "no list of conversations"),
        ("a.yml", b"a: [", "not YAML: line"),
        ("a.yml", b"!!python/object/apply:os.system ['x']", "not YAML"),
        ("a.yml", b"[" * 20_000, "not YAML"),
        ("a.yml", b"conversations: [[2026-02-31, x]]", "not YAML"),
        ("a.yml", b"conversations: [\x00]", "not YAML"),
        ("a.txt", b"x" * ((8 << 20) + 1), "at most"),
    ],
)
def test_what_is_no_document_is_refused_with_the_reason(name: str, data: bytes, why: str) -> None:
    with pytest.raises(NotADocument, match=why) as caught:
        parse(name, data)
    assert str(caught.value).startswith(name)


@given(st.sampled_from(KINDS), st.one_of(st.binary(max_size=400), st.text(max_size=400).map(str.encode)))
def test_any_bytes_are_sections_or_refused(kind: str, data: bytes) -> None:
    try:
        found = parse(f"any{kind}", data)
    except NotADocument:
        return
    assert found
    assert all(section.body.strip() and "\n" not in section.heading for section in found)


@given(
    st.lists(
        st.sampled_from(
            ["<h1>", "</h1>", "<p>", "<nav>", "</nav>", "<pre>", "</p>", "<br/>", "word ", "&amp;", "<", "<!--"]
        )
    )
)
def test_html_that_is_broken_anywhere_is_read_as_far_as_it_goes(pieces: list[str]) -> None:
    page = "".join((*pieces, "-->", "</nav>" * len(pieces), "</h1><p>at the end"))
    assert parse("x.html", page.encode())[-1].body.endswith("at the end")


@given(st.lists(st.text("ab c.!\n", max_size=300), max_size=6), st.integers(20, 200))
def test_passages_have_all_words_in_order_and_none_is_too_long(bodies: list[str], most: int) -> None:
    sections = [Section(f"heading {number}", body) for number, body in enumerate(bodies)]
    found = passages(sections, most)
    assert [one.number for one in found] == list(range(1, len(found) + 1))
    assert all(len(one.body) <= most and one.body.strip() for one in found)
    for section in sections:
        told = "".join(one.body for one in found if one.heading == section.heading)
        assert "".join(told.split()) == "".join(section.body.split())


def test_an_answer_that_somebody_wrote_stays_whole() -> None:
    answer = "A sentence. " * 100
    (only,) = passages([Section("Why?", answer, SectionKind.ANSWER)])
    assert only.body == answer
    assert words(only.text)[0] == "why"
