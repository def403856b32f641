"""Labels by vectors alone: the formula, and what must hold for any vectors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from llmos.kernel.gate.calls.zero_shot import TEMPERATURE, classify
from llmos.kernel.ports.encoder import Embedding
from llmos.syscalls.abi.encoders import Classify


def embedding(vectors: np.ndarray) -> Embedding:
    """An encoder's answer with these vectors."""
    count, dimensions = vectors.shape
    return Embedding("model", "fingerprint", dimensions, vectors.astype("<f4").tobytes(), (1,) * count)


def test_scores_are_the_softmax_of_cosines_by_the_temperature() -> None:
    angle = math.pi / 3
    vectors = np.array([[1, 0], [0, 1], [math.cos(angle), math.sin(angle)]])
    (found,) = classify(embedding(vectors), ("east", "north"))
    weights = [math.exp(math.cos(angle) / TEMPERATURE), math.exp(math.sin(angle) / TEMPERATURE)]
    assert found.label == "north"
    assert found.scores == pytest.approx([weight / sum(weights) for weight in weights], rel=1e-5)


def test_the_boundary_tells_the_temperature_that_is_used() -> None:
    assert f"/ {TEMPERATURE}." in (Classify.__doc__ or "")


@given(
    st.integers(2, 6).flatmap(
        lambda labels: st.tuples(
            st.just(labels), arrays(np.float32, (labels + 3, 5), elements=st.floats(-1, 1, width=32))
        )
    )
)
def test_scores_of_any_vectors_are_numbers_that_sum_to_one_and_the_label_has_the_best(
    drawn: tuple[int, np.ndarray],
) -> None:
    count, vectors = drawn
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    labels = tuple(f"label {number}" for number in range(count))
    found = classify(embedding(vectors / np.where(lengths > 1e-6, lengths, 1)), labels)
    assert len(found) == 3
    for one in found:
        assert sum(one.scores) == pytest.approx(1)
        assert one.scores[labels.index(one.label)] == max(one.scores)
