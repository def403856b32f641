"""Encoders without a model: a text's vector is a hashed bag of its words, so that texts that share words are near.

Deterministic, on every machine and in every process. `SimulatedEmbedder` is for those who only need vectors,
`SimulatedEncoderLauncher` for those who test how encoders are kept alive: its encoders die when they are told to.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from zlib import crc32

from llmos.kernel.ports.encoder import Embedding, EmbeddingDone, Encoded, EncodeOrder, EncoderReady, EncoderReport
from llmos.kernel.ports.engine import EngineGone, EngineRefused
from llmos.syscalls.abi.words import PriorityClass

DIMENSIONS = 64
MAX_TOKENS = 32
BATCH_TOKENS = 64
FINGERPRINT = "simulated"
_WORD = re.compile(r"\w+")


def words_of(text: str) -> list[str]:
    """The tokens of a text: its words, in small letters."""
    return _WORD.findall(text.lower())


def simulated_vector(text: str, dimensions: int = DIMENSIONS, max_tokens: int = MAX_TOKENS) -> bytes:
    """The vector of a text, of length 1; one without words points along the first axis."""
    sums = [0.0] * dimensions
    for word in words_of(text)[:max_tokens]:
        code = crc32(word.encode())
        sums[code % dimensions] += 1.0 if code & 1 << 31 else -1.0
    length = math.sqrt(sum(number * number for number in sums))
    unit = [number / length for number in sums] if length else [1.0, *sums[1:]]
    return struct.pack(f"<{dimensions}f", *unit)


def simulated_encoder_ready(model: str = "sim", batch_tokens: int = BATCH_TOKENS) -> EncoderReady:
    """What a simulated encoder says when it is up."""
    return EncoderReady(model, FINGERPRINT, "simulated", "float32", DIMENSIONS, MAX_TOKENS, batch_tokens)


def encode(order: EncodeOrder) -> Encoded:
    """Carry out one order."""
    counts = [len(words_of(text)) for text in order.texts]
    return Encoded(
        number=order.number,
        vectors=b"".join(simulated_vector(text) for text in order.texts),
        tokens=tuple(min(count, MAX_TOKENS) for count in counts),
        cut=tuple(index for index, count in enumerate(counts) if count > MAX_TOKENS),
    )


class SimulatedEmbedder:
    """An `Embedder` that answers in the next turn of the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, model: str = "sim") -> None:
        self._loop = loop
        self._model = model

    def embed(
        self, texts: Sequence[str], principal: str, priority: PriorityClass, done: EmbeddingDone
    ) -> Callable[[], None]:
        """See `Embedder`; it never refuses."""
        encoded = encode(EncodeOrder(1, tuple(texts)))
        result = Embedding(self._model, FINGERPRINT, DIMENSIONS, encoded.vectors, encoded.tokens, encoded.cut)
        return self._loop.call_soon(done, result).cancel


class SimulatedEncoder:
    """An encoder in this process (`EncoderProcess`); its reports wait behind a socket, as those of a real one."""

    def __init__(self, ready: EncoderReady) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._reports: deque[EncoderReport] = deque()
        self._dead = self._refuses = False
        self.held: deque[EncodeOrder] | None = None
        """Orders that wait for `release`, when it holds them."""
        self.orders: list[EncodeOrder] = []
        """All that it was ever given."""
        self._report(ready)

    @property
    def os_pid(self) -> int:
        return os.getpid()

    def fileno(self) -> int:
        return self._ours.fileno()

    def submit(self, order: EncodeOrder, /) -> None:
        if self._dead:
            raise EngineGone("the simulated encoder is dead")
        self.orders.append(order)
        if self.held is None:
            self._report(encode(order))
        else:
            self.held.append(order)

    def receive(self) -> EncoderReport | None:
        if self._reports:
            self._ours.recv(1)
            return self._reports.popleft()
        if self._refuses:
            raise EngineRefused("the simulated encoder refuses its model")
        if self._dead:
            raise EngineGone("the simulated encoder was told to die")
        return None

    def kill(self) -> None:
        self._dead = True
        self._reports.clear()
        self._ours.close()
        self._theirs.close()

    def hold(self) -> None:
        """Answer nothing until `release`."""
        self.held = deque()

    def release(self) -> None:
        """Answer what was held, and do not hold any more."""
        held, self.held = self.held or (), None
        for order in held:
            self._report(encode(order))

    def die(self) -> None:
        """Be gone, with all that was not answered."""
        self._dead = True
        self._reports.clear()
        self._theirs.close()

    def refuse(self) -> None:
        """Be gone for good, as one that cannot run its model."""
        self._refuses = True
        self.die()

    def _report(self, report: EncoderReport) -> None:
        self._reports.append(report)
        self._theirs.send(b"!")


class SimulatedEncoderLauncher:
    """Starts simulated encoders (`EncoderLauncher`); `started` has all of them, oldest first."""

    def __init__(self, ready: EncoderReady) -> None:
        self.started: list[SimulatedEncoder] = []
        self.holding = False
        """Whether the next ones hold their orders."""
        self._ready = ready

    @property
    def model(self) -> str:
        return self._ready.model

    def launch(self) -> SimulatedEncoder:
        encoder = SimulatedEncoder(self._ready)
        if self.holding:
            encoder.hold()
        self.started.append(encoder)
        return encoder

    def close(self) -> None:
        """There is nothing to release."""
