"""Which of some labels fits a text, from their vectors alone. Pure, and as quick as one small product.

Zero-shot classification over sentence vectors (as in Radford et al. 2021, section 3.1, with texts for images): a label
stands for the vector of a sentence with it; scores are softmax over the labels of cosine / `TEMPERATURE`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llmos.kernel.ports.encoder import Embedding
from llmos.syscalls.abi.encoders import Classification

TEMPERATURE = 0.07
"""The smaller, the surer. It changes scores, never the best label; chosen, as the default template, by `make bench
ONLY=classify`: the least log loss of the default encoder, and about as sure as it is right.
"""


def classify(embedding: Embedding, labels: Sequence[str]) -> tuple[Classification, ...]:
    """Classify texts; `embedding` has one vector for each label's sentence first, then one for each text."""
    vectors = np.frombuffer(embedding.vectors, "<f4").reshape(-1, embedding.dimensions)
    sentences, texts = vectors[: len(labels)], vectors[len(labels) :]
    logits = (texts @ sentences.T).astype(np.float64) / TEMPERATURE
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores: list[list[float]] = (weights / weights.sum(axis=1, keepdims=True)).tolist()
    return tuple(Classification(labels[row.index(max(row))], tuple(row)) for row in scores)
