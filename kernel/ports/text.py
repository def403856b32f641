"""The port to text: a model's tokenizer and chat template, outside the step loop.

Implementations are thread-safe except for `TextStream`, which belongs to one generation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from llmos.syscalls.abi.words import ChatMessage, Role, ToolFormat


class TurnKind(Enum):
    """Where a conversation stands at the end of a context."""

    EMPTY = "empty"
    CLOSED = "closed"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Turn:
    """Where a conversation stands: nothing yet; after a finished message of `role`; or inside the assistant's answer.

    `ended`: the answer's last token is already an end token, so that the template's own end must not follow again.
    """

    kind: TurnKind
    role: Role | None = None
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """Text that has become certain, and whether a stop string was completed (its text is cut away)."""

    text: str
    stopped: bool


class TextStream(Protocol):
    """Incremental detokenization of one generation: never half a character, nothing that may be a stop string's
    start.
    """

    def push(self, token: int) -> Piece:
        """Add one token. After a piece that stopped, nothing more may be pushed."""
        ...

    def flush(self) -> str:
        """The text that was held back, at the end of a generation."""
        ...


class TextCodec(Protocol):
    """Text to tokens and back, for one model."""

    def encode(self, text: str, first: bool) -> tuple[int, ...]:
        """Tokens of plain text; `first` adds what the tokenizer puts before a document (BOS)."""
        ...

    @property
    def tool_format(self) -> ToolFormat:
        """In which form the model is asked to call tools."""
        ...

    def encode_chat(self, messages: Sequence[ChatMessage], after: Turn, tools: str | None = None) -> tuple[int, ...]:
        """Tokens that continue a context by messages, through the model's own chat template.

        `tools` is a JSON array of what the model may call; where the template writes none, or not at this place, it is
        told in words, at the head of the first message that is the system's or the user's.

        When the last message is the user's or a tool's, the start of the assistant's turn is included. Raises
        `InvalidArgument` when the model
        has no template or its template refuses the messages.
        """
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of tokens, special tokens included."""
        ...

    def stream(self, stop: Sequence[str]) -> TextStream:
        """A new stream; special tokens are not in its text."""
        ...
