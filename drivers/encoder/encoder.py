"""From orders to vectors: tokens of texts, sorted by length, computed a bounded number of tokens at a time.

Rule: a text's vector depends on nothing but the text, so it may be computed in any company and done again at will.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import torch
from tokenizers import Encoding, Tokenizer
from torch import Tensor
from torch.nn.functional import normalize

from llmos.drivers.encoder.description import Description, Unsupported, describe
from llmos.drivers.encoder.lean import LeanEncoder
from llmos.drivers.encoder.settings import DeviceKind, EncoderSettings
from llmos.kernel.ports.encoder import Encoded, EncodeOrder, EncoderReady

_CPU_TOKENS, _CUDA_TOKENS = 512, 16384
"""Of one order: about a tenth of a second's work on a few processors, a small part of it on a GPU."""

_FEW_TOKENS = 12
"""So little work is done by one thread: two save little then, and wait long for each other beside a decoder."""

_WARM_UP = ("warm", "up " * 64)


class Network(Protocol):
    """Texts as token ids, sorted by length, to vectors `[texts, dimensions]`."""

    def encode(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """Compute them."""
        ...


class Encoder:
    """One model that carries out orders."""

    def __init__(self, description: Description, network: Network, step_tokens: int) -> None:
        self._tokenizer = _tokenizer(description)
        self._lower_case = description.lower_case
        self._network = network
        self._step_tokens = step_tokens

    @torch.inference_mode()
    def run(self, order: EncodeOrder) -> Encoded:
        """Carry out one order."""
        began = time.perf_counter()
        texts = [text.lower() for text in order.texts] if self._lower_case else list(order.texts)
        encodings: list[Encoding] = self._tokenizer.encode_batch_fast(texts)
        vectors = self._vectors([encoding.ids for encoding in encodings])
        return Encoded(
            number=order.number,
            vectors=vectors.cpu().numpy().astype("<f4", copy=False).tobytes(),
            tokens=tuple(len(encoding.ids) for encoding in encodings),
            cut=tuple(index for index, encoding in enumerate(encodings) if encoding.overflowing),
            seconds=time.perf_counter() - began,
        )

    def _vectors(self, texts: list[list[int]]) -> Tensor:
        by_length = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        computed = [self._step([texts[index] for index in step]) for step in self._steps(by_length, texts)]
        sorted_vectors = normalize(torch.cat(computed), dim=1)
        vectors = torch.empty_like(sorted_vectors)
        vectors[torch.tensor(by_length, device=vectors.device)] = sorted_vectors
        return vectors

    def _step(self, texts: list[list[int]]) -> Tensor:
        if sum(map(len, texts)) > _FEW_TOKENS:
            return self._network.encode(texts)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return self._network.encode(texts)
        finally:
            torch.set_num_threads(threads)

    def _steps(self, by_length: list[int], texts: list[list[int]]) -> Iterator[list[int]]:
        """Texts of similar length together; as many as fit when all are as long as the longest."""
        step: list[int] = []
        for index in by_length:
            if step and (len(step) + 1) * len(texts[index]) > self._step_tokens:
                yield step
                step = []
            step.append(index)
        if step:
            yield step


def load_encoder(settings: EncoderSettings) -> tuple[Encoder, EncoderReady]:
    """Everything up to the first order. Raises `Unsupported` for what will never work."""
    device = _device(settings.device)
    if device.type == "cpu":
        torch.set_num_threads(settings.threads or len(os.sched_getaffinity(0)))
    try:
        description = describe(Path(settings.directory))
        budget = _CPU_TOKENS if device.type == "cpu" else _CUDA_TOKENS
        encoder = Encoder(description, _network(description, device), budget)
    except Unsupported as error:
        raise Unsupported(f"model {settings.model!r} is not supported: {error}") from error
    encoder.run(EncodeOrder(0, _WARM_UP))
    ready = EncoderReady(
        model=settings.model,
        fingerprint=f"{settings.fingerprint[:32]}-{description.pooling.value}-{description.max_tokens}",
        device="cpu" if device.type == "cpu" else f"cuda ({torch.cuda.get_device_name(device)})",
        dtype="float32",
        dimensions=description.configuration.dimensions,
        max_tokens=description.max_tokens,
        batch_tokens=budget,
    )
    return encoder, ready


def _network(description: Description, device: torch.device) -> Network:
    if description.configuration.lean:
        return LeanEncoder(description, device)
    # Importing transformers takes many seconds, and most encoders never need it.
    from llmos.drivers.encoder.eager import EagerEncoder

    return EagerEncoder(description, device)


def _device(kind: DeviceKind) -> torch.device:
    match kind:
        case DeviceKind.CPU:
            return torch.device("cpu")
        case DeviceKind.CUDA:
            if not torch.cuda.is_available():
                raise Unsupported("engine.device = cuda: there is no usable CUDA device")
            return torch.device("cuda")
        case DeviceKind.AUTO:
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _tokenizer(description: Description) -> Tokenizer:
    path = description.directory / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises this and nothing narrower
        raise Unsupported(f"{path} is no tokenizer that can be read: {error}") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(description.max_tokens)
    return tokenizer
