"""Incremental detokenization with stop strings.

`Detokenizer` decodes a short window of tokens and hands out what is certain: a character whose bytes are
not all there decodes to U+FFFD at the end of the text, and only the last such character can still change.
`StopFilter` holds back the longest end of the text that may be the start of a stop string. What both handed
out, flushed, is the decoding of all tokens, cut at the first stop string that was completed; among those
completed by the same character the longest counts. So the result does not depend on where tokens end.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tokenizers import Tokenizer

from llmos.kernel.ports.text import Piece

UNFINISHED = "\ufffd"
LONG_WINDOW = 32


class Detokenizer:
    """Text of tokens that come one by one; special tokens have none."""

    def __init__(self, tokenizer: Tokenizer, special: Collection[int], unfinished_bytes: bool) -> None:
        """`unfinished_bytes`: a half character decodes to one U+FFFD for each of its bytes, not for all of them."""
        self._tokenizer = tokenizer
        self._unfinished_bytes = unfinished_bytes
        self._special = special
        self._window: list[int] = []
        self._context = 0
        self._shown = 0

    def push(self, token: int) -> str:
        """The text that became certain."""
        if token in self._special:
            return ""
        self._window.append(token)
        text = self._decode(self._window)
        if text.endswith(UNFINISHED):
            return self._show_certain(text)
        fresh = text[self._shown :]
        if fresh:
            self._restart()
        return fresh

    def flush(self) -> str:
        """The rest, half a character included (as U+FFFD)."""
        return self._decode(self._window)[self._shown :]

    def _show_certain(self, text: str) -> str:
        certain = len(text.rstrip(UNFINISHED)) if self._unfinished_bytes else len(text) - 1
        fresh = text[self._shown : certain]
        self._shown = max(self._shown, certain)
        self._shorten(text)
        return fresh

    def _restart(self) -> None:
        """Keep the tokens of the latest text as context: some decoders join words, or strip a leading space."""
        self._window = self._window[self._context :]
        self._context = len(self._window)
        self._shown = len(self._decode(self._window))

    def _shorten(self, text: str) -> None:
        """Keep a long run of undecodable bytes from making every step longer."""
        if len(self._window) <= LONG_WINDOW:
            return
        cut = len(self._window) - LONG_WINDOW // 2
        head, tail = self._decode(self._window[:cut]), self._decode(self._window[cut:])
        if head + tail == text and len(head) <= self._shown:
            self._window, self._context = self._window[cut:], 0
            self._shown -= len(head)

    def _decode(self, tokens: Sequence[int]) -> str:
        return self._tokenizer.decode(tokens, skip_special_tokens=False)


class StopFilter:
    """Finds the first completed stop string in text that comes in pieces."""

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = tuple(text for text in stop if text)
        self._starts = frozenset(text[:length] for text in self._stop for length in range(1, len(text)))
        self._longest = max(map(len, self._stop), default=1) - 1
        self._held = ""

    def push(self, text: str) -> Piece:
        """The text that cannot be part of a stop string any more."""
        text = self._held + text
        match = self._first_match(text)
        if match is not None:
            self._held = ""
            return Piece(text[:match], True)
        keep = self._held_length(text)
        self._held = text[len(text) - keep :]
        return Piece(text[: len(text) - keep], False)

    def flush(self) -> str:
        """What was held back."""
        held, self._held = self._held, ""
        return held

    def _first_match(self, text: str) -> int | None:
        found = [(begin + len(stop), begin) for stop in self._stop if (begin := text.find(stop)) >= 0]
        return min(found)[1] if found else None

    def _held_length(self, text: str) -> int:
        lengths = range(min(self._longest, len(text)), 0, -1)
        return next((length for length in lengths if text[-length:] in self._starts), 0)


class ModelTextStream:
    """A `TextStream`: a detokenizer whose text goes through a stop filter."""

    def __init__(self, detokenizer: Detokenizer, stop: Sequence[str]) -> None:
        self._detokenizer = detokenizer
        self._filter = StopFilter(stop)
        self._stopped = False

    def push(self, token: int) -> Piece:
        """Add one token."""
        if self._stopped:
            raise ValueError("this stream has stopped")
        piece = self._filter.push(self._detokenizer.push(token))
        self._stopped = piece.stopped
        return piece

    def flush(self) -> str:
        """The text that was held back; nothing after a stop."""
        if self._stopped:
            return ""
        self._stopped = True
        piece = self._filter.push(self._detokenizer.flush())
        return piece.text if piece.stopped else piece.text + self._filter.flush()


def shows_each_byte(tokenizer: Tokenizer) -> bool:
    """Whether half a character decodes to a U+FFFD for each byte, as with SentencePiece's byte tokens."""
    half = [tokenizer.token_to_id("<0xE2>"), tokenizer.token_to_id("<0x82>")]
    ids = [number for number in half if number is not None]
    return tokenizer.decode(ids, skip_special_tokens=False) == UNFINISHED * 2
