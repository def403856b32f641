"""The port to an encoder: texts go in, vectors come out; and what the rest of the kernel asks for vectors.

An encoder is an OS process with one model of the BERT family. It takes orders strictly in the order in which they were
submitted and answers each with one vector a text, of length 1, so that a dot product is a cosine. A text longer than
the model takes is cut at its limit, and the answer says so. Vectors are little-endian float32, one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from llmos.kernel.ports.engine import Message
from llmos.syscalls.abi.errors import Error
from llmos.syscalls.abi.words import PriorityClass

FLOAT_BYTES = 4
"""Of one number of a vector."""


class EncodeOrder(Message, frozen=True):
    """Texts to encode together. Numbers rise."""

    number: int
    texts: tuple[str, ...]


class EncoderReady(Message, frozen=True, tag="ready"):
    """The encoder is up. `fingerprint` names weights and tokenizer: vectors of different ones do not compare.

    `max_tokens` is the longest text, `batch_tokens` how many tokens an order should have at most, so that it is quick.
    """

    model: str
    fingerprint: str
    device: str
    dtype: str
    dimensions: int
    max_tokens: int
    batch_tokens: int


class Encoded(Message, frozen=True, tag="encoded"):
    """What came of an order: the vectors of its texts, their tokens as computed, and which texts were cut."""

    number: int
    vectors: bytes
    tokens: tuple[int, ...]
    cut: tuple[int, ...] = ()
    """Positions of texts that were longer than `max_tokens`."""
    seconds: float = 0.0


EncoderReport = EncoderReady | Encoded


class EncoderProcess(Protocol):
    """A started encoder. Used by one thread; no method blocks for longer than one order's bytes take."""

    @property
    def os_pid(self) -> int:
        """Its process id in the operating system."""
        ...

    def fileno(self) -> int:
        """Readable when `receive` has something to say, its death included."""
        ...

    def submit(self, order: EncodeOrder, /) -> None:
        """Queue an order. Raises `EngineGone`."""
        ...

    def receive(self) -> EncoderReport | None:
        """The next report, or None when there is none yet. Raises `EngineGone`, or `EngineRefused` for good."""
        ...

    def kill(self) -> None:
        """End it at once, reap it and close the channel. May be called twice."""
        ...


class EncoderLauncher(Protocol):
    """Starts encoders of one model."""

    @property
    def model(self) -> str:
        """The name that calls ask for."""
        ...

    def launch(self) -> EncoderProcess:
        """Start one; returns at once, the first report is `EncoderReady`. Raises `EngineGone`."""
        ...

    def close(self) -> None:
        """Release what all of them share."""
        ...


@dataclass(frozen=True, slots=True)
class Embedding:
    """The vectors of some texts, in order, each `dimensions` numbers long and of length 1.

    `model` and `fingerprint` say whose they are; only vectors of the same fingerprint compare. `cut` has the positions
    of texts that were longer than the model takes.
    """

    model: str
    fingerprint: str
    dimensions: int
    vectors: bytes
    tokens: tuple[int, ...]
    cut: tuple[int, ...] = ()

    def vector(self, index: int) -> bytes:
        """One text's, as little-endian float32."""
        size = self.dimensions * FLOAT_BYTES
        return self.vectors[index * size : (index + 1) * size]


EmbeddingDone = Callable[[Embedding | Error], None]


class Embedder(Protocol):
    """Vectors for others in the kernel. Used in the loop's thread; never blocks it."""

    def embed(
        self, texts: Sequence[str], principal: str, priority: PriorityClass, done: EmbeddingDone
    ) -> Callable[[], None]:
        """Encode at least one text on a principal's account, and call `done` once, from the loop, never inside this.

        Returns how to take it back: then `done` is not called any more, and what was not begun is dropped; it may be
        called at any time. A crash of the encoder only delays. `done` gets `NotFound` when there is no encoder,
        `DeviceError` when it cannot do it. Raises `TryAgain` when the principal has too much waiting.
        """
        ...
