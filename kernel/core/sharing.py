"""Prefix sharing: sealed pages found again by what is in them.

A content id is a keyed hash over the parent's content id and the page's tokens; the key comes from the share scope of
the authenticated principal, never from the caller. On a hit the tokens themselves are compared too.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import assert_never

from llmos.kernel.core.pages import Page
from llmos.syscalls.abi.words import Pid


class Breadth(StrEnum):
    """With whom prefixes are shared, narrowest first: a process's own children only, ..., everybody."""

    PRIVATE = "private"
    PRINCIPAL = "principal"
    ROLE = "role"
    TENANT = "tenant"
    PUBLIC = "public"


@dataclass(frozen=True, slots=True)
class ShareScope:
    """Who is in the scope; made from an authenticated principal. Roles of the same name in two tenants are two."""

    breadth: Breadth
    tenant: str = ""
    role: str = ""
    principal: str = ""

    def parts(self, pid: Pid) -> tuple[str, ...]:
        """What tells this scope from every other."""
        match self.breadth:
            case Breadth.PRIVATE:
                return (self.breadth, str(pid))
            case Breadth.PRINCIPAL:
                return (self.breadth, self.tenant, self.principal)
            case Breadth.ROLE:
                return (self.breadth, self.tenant, self.role)
            case Breadth.TENANT:
                return (self.breadth, self.tenant)
            case Breadth.PUBLIC:
                return (self.breadth,)
            case _:
                assert_never(self.breadth)


def scope_key(secret: bytes, scope: ShareScope, pid: Pid) -> bytes:
    """The hash key of everything that the members of a scope may share: 32 bytes; `pid` is the process it is for."""
    # Names hold no zero, so no two scopes have the same text.
    return blake2b("\0".join(scope.parts(pid)).encode(), key=secret, digest_size=32).digest()


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
