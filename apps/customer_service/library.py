"""The library: the documents in the app's home, and their passages in its long-term memory.

`refresh` makes the two agree: it reads what is new or has changed, and forgets what is gone. Rules: a document's new
passages are there before its old ones go; whatever ends it in the middle, the next time finishes it; a document that
cannot be read costs no other one anything, and what was known of it stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import PurePosixPath

import llmos
from llmos.syscalls.abi.files import FileKind, FileStat
from llmos.syscalls.abi.memory import Scalar

from .anonymise import vocabulary
from .documents import is_document, parse
from .passages import Passage, passages
from .sections import NotADocument

FOLDER = "knowledge"
KNOWLEDGE, HEADINGS, DOCUMENTS = "knowledge", "headings", "documents"
"""Namespaces: of passages, of headings by themselves, and of what is known about each document."""
VOCABULARY = "vocabulary"
"""File with the words that logs may show."""
AT_ONCE = 16


@dataclass(slots=True)
class Refreshed:
    """What `refresh` did, by paths below the folder; `refused` says why."""

    read: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    passages: int = 0

    @property
    def changed(self) -> bool:
        """Whether anything is not as it was."""
        return bool(self.read or self.forgotten)


@dataclass(frozen=True, slots=True)
class Library:
    """The documents of `folder`."""

    system: llmos.AsyncSystem
    folder: str = FOLDER

    async def refresh(self) -> Refreshed:
        """Read what is new or has changed, forget what is gone."""
        known = {str(one.metadata["source"]): one for one in await self.system.memory.list(DOCUMENTS)}
        done = Refreshed()
        present = {path: stat async for path, stat in self._walk(self.folder)}
        for path, stat in sorted(present.items()):
            await self._look_at(path, stat, known, done)
        for path in sorted(known.keys() - present.keys()):
            await self._forget(path)
            done.forgotten.append(path)
        if done.changed:
            await self._keep_vocabulary()
        return done

    async def words(self) -> frozenset[str]:
        """The words that logs may show; none before the first document."""
        try:
            return frozenset((await self.system.files.read_bytes(VOCABULARY)).decode().split())
        except llmos.NotFound:
            return frozenset()

    async def _walk(self, folder: str) -> AsyncIterator[tuple[str, FileStat]]:
        """Files below a folder by their path in the library; a folder that is missing has none."""
        try:
            entries = await self.system.files.list(folder)
        except llmos.NotFound:
            return
        for entry in entries:
            path = f"{folder}/{PurePosixPath(entry.path).name}"
            if entry.kind is FileKind.DIRECTORY:
                async for found in self._walk(path):
                    yield found
            else:
                yield path.removeprefix(f"{self.folder}/"), entry

    async def _look_at(
        self, path: str, stat: FileStat, known: Mapping[str, llmos.MemoryRecord], done: Refreshed
    ) -> None:
        stamp = f"{stat.version}:{stat.size}:{stat.modified}"
        before = known.get(path)
        if before is not None and before.metadata["stamp"] == stamp:
            done.unchanged.append(path)
            return
        if not is_document(path):
            done.refused[path] = "not a kind of document that is read"
            return
        try:
            found = passages(parse(path, await self.system.files.read_bytes(f"{self.folder}/{path}")))
        except (NotADocument, llmos.NotFound) as error:
            done.refused[path] = str(error)
            return
        await self._enter(path, stamp, found)
        done.read.append(path)
        done.passages += len(found)

    async def _enter(self, path: str, stamp: str, found: Sequence[Passage]) -> None:
        edition = _digest(path, stamp)
        slots = asyncio.Semaphore(AT_ONCE)

        async def put(passage: Passage) -> None:
            async with slots:
                await self._put(path, edition, passage)

        async def put_heading(heading: str) -> None:
            async with slots:
                about = {"source": path, "edition": edition}
                id = f"{edition}-{_digest(heading)[:16]}"
                await self.system.memory.put(heading, about, HEADINGS, id=id, trust="external")

        headings = {one.heading for one in found if one.heading}
        await asyncio.gather(*(put(one) for one in found), *(put_heading(one) for one in headings))
        about: dict[str, Scalar] = {"source": path, "stamp": stamp, "passages": len(found)}
        await self.system.memory.put(path[:4096], about, DOCUMENTS, id=_digest(path))
        for namespace in (KNOWLEDGE, HEADINGS):
            await self.system.memory.forget(namespace=namespace, where={"source": path, "edition": ("!=", edition)})

    async def _put(self, path: str, edition: str, passage: Passage) -> None:
        about: dict[str, Scalar] = {
            "source": path,
            "edition": edition,
            "heading": passage.heading[:1000],
            "number": passage.number,
            "kind": passage.kind.value,
        }
        id = f"{edition}-{passage.number}"
        await self.system.memory.put(passage.text, about, KNOWLEDGE, id=id, trust="external")

    async def _forget(self, path: str) -> None:
        for namespace in (KNOWLEDGE, HEADINGS):
            await self.system.memory.forget(namespace=namespace, where={"source": path})
        await self.system.memory.forget(namespace=DOCUMENTS, id=_digest(path))

    async def _keep_vocabulary(self) -> None:
        known = vocabulary(one.text for one in await self.system.memory.list(KNOWLEDGE))
        await self.system.files.write_bytes(VOCABULARY, "\n".join(sorted(known)).encode())


def _digest(*parts: str) -> str:
    return blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
