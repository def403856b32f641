"""What is in a document: sections, each a heading and what stands under it. The file's name picks the reader.

Pure: bytes in, sections out. Rules: a document is data, and nothing in it is run, followed or fetched; whatever its
bytes are, the outcome is sections or `NotADocument`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

from .html_document import html_sections
from .plain_document import markdown_sections, text_sections
from .qa_document import qa_sections
from .sections import NotADocument, Section

MOST_BYTES = 8 << 20
"""Of one document."""

_READERS: Mapping[str, Callable[[str], tuple[Section, ...]]] = {
    ".txt": text_sections,
    ".md": markdown_sections,
    ".html": html_sections,
    ".htm": html_sections,
    ".yml": qa_sections,
    ".yaml": qa_sections,
}

KINDS = tuple(_READERS)
"""Endings of the names of documents that can be read."""


def is_document(path: str) -> bool:
    """Whether a file of this name is read at all."""
    return PurePosixPath(path).suffix.lower() in _READERS


def parse(path: str, data: bytes) -> tuple[Section, ...]:
    """The sections of a document. Raises `NotADocument`."""
    reader = _READERS.get(PurePosixPath(path).suffix.lower())
    if reader is None:
        raise NotADocument(f"{path}: only {' '.join(KINDS)} are read")
    if len(data) > MOST_BYTES:
        raise NotADocument(f"{path}: {len(data)} bytes, and a document has at most {MOST_BYTES}; split it")
    try:
        found = reader(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise NotADocument(f"{path}: not UTF-8 from byte {error.start} on") from None
    except NotADocument as error:
        raise NotADocument(f"{path}: {error}") from None
    if not found:
        raise NotADocument(f"{path}: nothing to read in it")
    return found
