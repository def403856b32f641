"""A generation on its way to whoever asked for it: tokens become text, stop strings are found, chunks are collected.

It does not know channels or credit. It holds everything not yet taken, so that a slow reader loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from llmos.kernel.core.effects import Failed, Finished, Token
from llmos.kernel.ports.text import TextStream
from llmos.syscalls.abi.errors import Error
from llmos.syscalls.abi.messages import Chunk, Generated
from llmos.syscalls.abi.words import FinishReason, TokenLogprob

Ended = Generated | Error


class GenerationInProgress:
    """Collects what the core reports about one generation. `changed` is called after every change."""

    def __init__(self, stream: TextStream, wants_logprobs: bool, changed: Callable[[], None]) -> None:
        self._stream = stream
        self._wants_logprobs = wants_logprobs
        self._changed = changed
        self._text: list[str] = []
        self._tokens: list[int] = []
        self._logprobs: list[TokenLogprob] = []
        self._told_text = 0
        self._told_tokens = 0
        self._signals = 0
        self.stopped = False
        """A stop string was completed: the generation must end."""
        self.ended: Ended | None = None

    @property
    def untold(self) -> int:
        """Tokens that nobody has taken yet."""
        return len(self._tokens) - self._told_tokens

    @property
    def has_chunk(self) -> bool:
        """There is something to take."""
        return bool(self.untold or self._signals or len(self._text) > self._told_text)

    def take_chunk(self) -> Chunk:
        """Everything that was not taken yet, as one chunk."""
        tokens = tuple(self._tokens[self._told_tokens :])
        chunk = Chunk(
            text="".join(self._text[self._told_text :]),
            token_ids=tokens,
            logprobs=tuple(self._logprobs[self._told_tokens :]),
            signals=self._signals,
        )
        self._told_text, self._told_tokens, self._signals = len(self._text), len(self._tokens), 0
        return chunk

    def token(self, token: Token) -> bool:
        """One more token; whether it completed a stop string."""
        self._tokens.append(token.token)
        if self._wants_logprobs:
            self._logprobs.append(TokenLogprob(token.token, token.logprob or 0.0, token.top))
        piece = self._stream.push(token.token)
        self._add(piece.text)
        self.stopped = piece.stopped
        self._changed()
        return self.stopped

    def signal(self) -> None:
        """The user signal arrived."""
        self._signals += 1
        self._changed()

    def finished(self, end: Finished) -> None:
        """It came to its end."""
        if not self.stopped:
            self._add(self._stream.flush())
        self.ended = Generated(
            text="".join(self._text),
            token_ids=tuple(self._tokens),
            finish_reason=FinishReason.STOP if self.stopped else end.reason,
            usage=end.usage,
            logprobs=tuple(self._logprobs),
            detail="" if self.stopped else end.detail,
        )
        self._changed()

    def failed(self, end: Failed) -> None:
        """It cannot go on."""
        self.ended = end.error
        self._changed()

    def _add(self, text: str) -> None:
        if text:
            self._text.append(text)
