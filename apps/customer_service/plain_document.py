"""Sections of plain text and of Markdown. Pure; any text has some, unless it is blank."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .sections import Section
from .words import plain

_FENCE = re.compile(r"\s{0,3}(```+|~~~+)")
_HEADING = re.compile(r"\s{0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_UNDERLINE = re.compile(r"\s{0,3}(=+|-{3,})\s*$")
_LINK = re.compile(r"!?\[([^\]\[]*)\]\([^)\s]*(?:\s+\"[^\"]*\")?\)")
_EMPHASIS = re.compile(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1")


def text_sections(text: str) -> tuple[Section, ...]:
    """One section; its heading is the first line when that stands alone."""
    lines = text.splitlines()
    first = next((number for number, line in enumerate(lines) if line.strip()), None)
    if first is None:
        return ()
    alone = first + 1 >= len(lines) or not lines[first + 1].strip()
    body = _paragraphs(lines[first + 1 :])
    if alone and body:
        return (Section(plain(lines[first]), body),)
    return (Section("", _paragraphs(lines)),)


def markdown_sections(text: str) -> tuple[Section, ...]:
    """A section for each heading; links become their text, code stays as it is."""
    sections: list[Section] = []
    heading, body, fence = "", list[str](), ""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        fence = _fence_after(fence, line)
        if not fence and (found := _heading(lines, number)) is not None:
            sections += _section(heading, body)
            heading, body = found, []
        elif fence or not (_UNDERLINE.match(line) and number and lines[number - 1].strip()):
            body.append(line if fence else _without_marks(line))
    return (*sections, *_section(heading, body))


def _fence_after(fence: str, line: str) -> str:
    """What must end the block of code that a line is in, if it is in one."""
    found = _FENCE.match(line)
    if found is None:
        return fence
    if not fence:
        return found[1]
    return "" if found[1].startswith(fence) else fence


def _heading(lines: list[str], number: int) -> str | None:
    if found := _HEADING.match(lines[number]):
        return plain(_without_marks(found[2]))
    underlined = number + 1 < len(lines) and _UNDERLINE.match(lines[number + 1])
    if underlined and lines[number].strip() and not lines[number].startswith(("-", "*", ">", "|")):
        return plain(_without_marks(lines[number]))
    return None


def _without_marks(line: str) -> str:
    return _EMPHASIS.sub(r"\2", _LINK.sub(r"\1", line))


def _section(heading: str, body: Iterable[str]) -> list[Section]:
    text = _paragraphs(body)
    return [Section(heading, text)] if text else []


def _paragraphs(lines: Iterable[str]) -> str:
    """Lines with one empty line, and no more, between paragraphs."""
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in lines)).strip("\n")
