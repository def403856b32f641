"""The answer of a model in pieces, each of which can be the last one before a crash.

Pure. Rules: a piece ends between two characters, so that whoever goes on there writes the same text: its last token
came alone and with text. A piece is given when something follows it, so that the last one comes together with the end.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import llmos

from .records import Ended, Said


@dataclass(slots=True)
class Pieces:
    """Of one generation; `push` what comes, then `finish`."""

    _tokens: list[int] = field(default_factory=list)
    _text: str = ""
    _clean: bool = False
    _given_tokens: int = 0
    _given_text: int = 0

    def push(self, chunk: llmos.Chunk) -> Said | None:
        """One more chunk; the piece before it, if that is whole."""
        piece = self._take() if self._clean else None
        self._tokens += chunk.token_ids
        self._text += chunk.text
        self._clean = len(chunk.token_ids) == 1 and chunk.text != ""
        return piece

    def finish(self, done: llmos.Generated) -> Ended:
        """The rest of it."""
        return Ended(done.token_ids[self._given_tokens :], done.text[self._given_text :], done.finish_reason.value)

    def _take(self) -> Said:
        piece = Said(tuple(self._tokens), self._text)
        self._given_tokens += len(self._tokens)
        self._given_text += len(self._text)
        self._tokens, self._text, self._clean = [], "", False
        return piece


def joined(text: str, seen: str) -> str:
    """The first piece after a pause as it stands in the whole text, `seen` from there: some decoders strip a space."""
    return f" {text}" if text and seen.startswith(f" {text[:1]}") and not text.startswith(" ") else text
