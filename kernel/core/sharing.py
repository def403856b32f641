"""Prefix sharing: sealed pages found again by what is in them.

A content id is a keyed hash over the parent's content id and the page's tokens; the key comes from the share scope of
the authenticated principal, never from the caller. On a hit the tokens themselves are compared too.
"""

from __future__ import annotations

from array import array
from hashlib import blake2b

from llmos.kernel.core.pages import Page


def scope_key(secret: bytes, principal: str) -> bytes:
    """The hash key of everything that `principal` may share: 32 bytes."""
    return blake2b(principal.encode(), key=secret, digest_size=32).digest()


def content_id(key: bytes, parent: bytes, tokens: tuple[int, ...]) -> bytes:
    """Names a full page by its tokens and everything before it: 16 bytes."""
    return blake2b(parent + array("q", tokens).tobytes(), key=key, digest_size=16).digest()


class ShareIndex:
    """Sealed pages by content id; the first page with some content keeps the name."""

    __slots__ = ("_pages",)

    def __init__(self) -> None:
        self._pages: dict[bytes, Page] = {}

    def __len__(self) -> int:
        return len(self._pages)

    def find(self, content: bytes, tokens: tuple[int, ...]) -> Page | None:
        """The page with this content, or None."""
        page = self._pages.get(content)
        return page if page is not None and page.tokens == tokens else None

    def add(self, page: Page, content: bytes, tokens: tuple[int, ...]) -> None:
        """Name a page; does nothing when the content is named already."""
        if self._pages.setdefault(content, page) is page:
            page.content, page.tokens = content, tokens

    def drop(self, page: Page) -> None:
        """Forget the name of a page, if it has one."""
        if page.content is not None:
            del self._pages[page.content]
            page.content, page.tokens = None, ()

    def pages(self) -> tuple[Page, ...]:
        """All named pages."""
        return tuple(self._pages.values())
