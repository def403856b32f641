"""Sections of an HTML page: what stands under each heading, without navigation, tables of contents, scripts and styles.

Pure. Rule: nothing is fetched, and no page is too broken: what a browser would show as text is text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html.parser import HTMLParser

from .sections import Section
from .words import listed, plain

_HEADINGS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
_UNSEEN = frozenset(("head", "nav", "noscript", "script", "style", "svg", "template", "title"))
_UNSEEN_CLASSES = listed("breadcrumb breadcrumbs headerlink nav navfooter navheader sidebar toc")
_BLOCKS = frozenset(("blockquote", "dd", "div", "dl", "dt", "li", "ol", "p", "pre", "section", "table", "tr", "ul"))
_VOID = listed("area base br col embed hr img input link meta source track wbr")
_NUMBER = re.compile(r"^(?:(?:Chapter|Section|Appendix)\s+[\dA-Z]+\.\s+|[\dA-Z]{1,2}(?:\.\d+)+\.?\s+|\d+\.\s+)")


def html_sections(text: str) -> tuple[Section, ...]:
    """A section for each heading that has text under it; numbers before headings are left out."""
    page = _Page()
    page.feed(text)
    page.close()
    page.end_section()
    return tuple(page.sections)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.sections: list[Section] = []
        self._heading = ""
        self._words: list[str] = []
        self._unseen: list[str] = []
        """Open elements since the outermost that is not shown."""
        self._in_heading = False
        self._verbatim = 0

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        if self._unseen or tag in _UNSEEN or not _UNSEEN_CLASSES.isdisjoint(_classes(attrs)):
            if tag not in _VOID:
                self._unseen.append(tag)
        elif tag in _HEADINGS:
            self.end_section()
            self._in_heading = True
        elif tag == "br":
            self._words.append("\n")
        elif tag in _BLOCKS:
            self._words.append("\n\n")
            self._verbatim += tag == "pre"

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        if tag == "br" and not self._unseen:
            self._words.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if self._unseen:
            self._close_unseen(tag)
        elif tag in _HEADINGS and self._in_heading:
            self._in_heading = False
            self._heading = _NUMBER.sub("", plain("".join(self._words)))
            self._words = []
        elif tag in _BLOCKS:
            self._words.append("\n\n")
            self._verbatim = max(0, self._verbatim - (tag == "pre"))

    def handle_data(self, data: str) -> None:
        if self._unseen:
            return
        if not self._verbatim:
            data = re.sub(r"\s+", " ", data)
            begins = not self._words or self._words[-1].endswith((" ", "\n"))
            data = data.lstrip() if begins else data
        if data:
            self._words.append(data)

    def end_section(self) -> None:
        """Keep what there is since the last heading."""
        body = _tidy("".join(self._words))
        if body:
            self.sections.append(Section(self._heading, body))
        self._words, self._in_heading = [], False

    def _close_unseen(self, tag: str) -> None:
        """An end tag closes what was left open inside it; one that fits nothing is ignored."""
        for depth in range(len(self._unseen) - 1, -1, -1):
            if self._unseen[depth] == tag:
                del self._unseen[depth:]
                return


def _classes(attributes: Sequence[tuple[str, str | None]]) -> list[str]:
    return next((value.split() for name, value in attributes if name == "class" and value), [])


def _tidy(text: str) -> str:
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in text.split("\n"))).strip("\n")
