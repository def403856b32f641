"""Vectors of texts: one short query, and batches of mixed lengths, against transformers' `AutoModel` on the same model.

The peer is what its users write: tokenizer, model, mean over the tokens, length 1, in float32 with as many threads;
batches of 32, sorted by length as sentence-transformers does and padded to the longest. The encoder runs in this
process, tokenizer included. The daemon's figures go through its socket, membrane, queue and encoder, against the
encoder alone.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from bench.daemon import daemon
from bench.report import Fact, Figure, Findings, compare
from llmos.drivers.encoder.encoder import load_encoder
from llmos.drivers.encoder.settings import DeviceKind, EncoderSettings
from llmos.drivers.models.catalogue import DEFAULT_ENCODER
from llmos.drivers.models.location import models_directory
from llmos.drivers.models.store import ModelStore
from llmos.kernel.ports.encoder import EncodeOrder

QUERY = "how do I reset the password of my account?"
TEXTS = 256
PEER_BATCH = 32
_PEER = "transformers AutoModel"
_WORDS = [
    "the",
    "server",
    "keeps",
    "every",
    "page",
    "of",
    "a",
    "context",
    "until",
    "somebody",
    "needs",
    "its",
    "place",
    "while",
    "agents",
    "wait",
    "for",
    "tools",
]


class Plain:
    """The model as transformers loads and runs it."""

    def __init__(self, directory: Path, longest: int) -> None:
        transformers_logging.disable_progress_bar()
        self._tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
        self._model = AutoModel.from_pretrained(directory, local_files_only=True, dtype=torch.float32).eval()
        self._longest = longest

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> list[list[float]]:
        """Vectors of one batch."""
        batch = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=self._longest, return_tensors="pt"
        )
        states: Tensor = self._model(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1).float()
        vectors: list[list[float]] = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=1).tolist()
        return vectors


def run(quick: bool) -> Findings:
    """Measure queries, then batches, in turns."""
    model = ModelStore(models_directory(None, os.environ)).resolve(DEFAULT_ENCODER)
    settings = EncoderSettings(model.name, str(model.directory), model.fingerprint, DeviceKind.CPU)
    encoder, ready = load_encoder(settings)
    plain = Plain(model.directory, ready.max_tokens)
    texts = _texts(random.Random(4), TEXTS // 4 if quick else TEXTS)
    by_length = sorted(texts, key=len)
    tokens = sum(encoder.run(EncodeOrder(1, tuple(texts))).tokens)
    query = _in_turns(
        20 if quick else 200,
        lambda: encoder.run(EncodeOrder(1, (QUERY,))),
        lambda: plain.encode([QUERY]),
    )
    batches = _in_turns(
        1 if quick else 4,
        lambda: encoder.run(EncodeOrder(1, tuple(texts))),
        lambda: [plain.encode(by_length[begin : begin + PEER_BATCH]) for begin in range(0, len(texts), PEER_BATCH)],
    )
    through = _through_the_daemon(20 if quick else 200, lambda: encoder.run(EncodeOrder(1, (QUERY,))))
    rates = [[len(texts) / seconds for seconds in times] for times in batches]
    figures = (
        _milliseconds("one short query", query, _PEER),
        compare(f"{len(texts)} texts of mixed length", "texts/s", rates[0], _PEER, rates[1], "higher"),
        _milliseconds("one short query through the daemon", through, "the encoder alone"),
    )
    return Findings(
        figures, (Fact("tokens of the mixed texts", tokens), Fact("longest text", ready.max_tokens, "tokens"))
    )


def _through_the_daemon(rounds: int, alone: Callable[[], object]) -> tuple[list[float], list[float]]:
    with daemon(device="cpu", device_pages=16) as running, running.connect() as system:
        system.embed([QUERY])
        return _in_turns(rounds, lambda: system.embed([QUERY]), alone)


def _in_turns(rounds: int, one: Callable[[], object], other: Callable[[], object]) -> tuple[list[float], list[float]]:
    """Seconds of each, taken one after the other, so that the machine's other work meets both."""
    times: tuple[list[float], list[float]] = ([], [])
    for round in range(rounds + 1):
        for taken, work in zip(times, (one, other), strict=True):
            began = time.perf_counter()
            work()
            if round:
                taken.append(time.perf_counter() - began)
    return times


def _milliseconds(name: str, times: tuple[list[float], list[float]], peer: str) -> Figure:
    one, other = ([1000 * seconds for seconds in each] for each in times)
    return compare(name, "ms", one, peer, other, "lower")


def _texts(source: random.Random, count: int) -> list[str]:
    """Mostly sentences, some paragraphs, few long texts."""
    lengths = source.choices((6, 12, 25, 60, 120, 250), weights=(30, 30, 20, 12, 6, 2), k=count)
    return [" ".join(source.choices(_WORDS, k=length)) for length in lengths]
