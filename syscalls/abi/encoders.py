"""Requests and replies of the calls that an encoder answers, and what it says about itself."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from llmos.syscalls.abi.words import Name, PriorityClass, Record

MAX_TEXTS = 1024
MAX_TEXT = 1 << 15
MAX_LABELS = 64
TEMPLATE = "This is about {}."
PLACE = "{}"
"""Where the label stands in a template, once."""

EncoderText = Annotated[str, Meta(max_length=MAX_TEXT)]
EncoderTexts = Annotated[tuple[EncoderText, ...], Meta(min_length=1, max_length=MAX_TEXTS)]
Label = Annotated[str, Meta(min_length=1, max_length=256)]


class Embed(Record, frozen=True):
    """Make one vector of each text. `model` is the daemon's encoder when it is nil.

    Calls wait by class, which is strict; inside a class callers take turns. EAGAIN when too much of a caller waits.
    """

    texts: EncoderTexts
    model: Name | None = None
    priority: PriorityClass = PriorityClass.NORMAL


class Embedded(Record, frozen=True):
    """The vectors of texts: float32, little-endian, `dimensions` numbers a text, one text after the other.

    Each has length 1, so the dot product of two is their cosine; only vectors of the same `fingerprint` compare.
    `tokens` were computed; `truncated` has the positions of texts that were longer than the model takes, and whose
    vectors are of their beginning.
    """

    model: str
    fingerprint: str
    dimensions: int
    vectors: bytes
    tokens: int
    truncated: tuple[int, ...] = ()


class Classify(Record, frozen=True):
    """Say which of some labels fits each text, by meaning and without training.

    A label stands for the sentence that `template` makes of it, in place of `{}`. A score is softmax over the labels of
    cosine(text, sentence) / 0.07.
    """

    texts: EncoderTexts
    labels: Annotated[tuple[Label, ...], Meta(min_length=2, max_length=MAX_LABELS)]
    model: Name | None = None
    template: Annotated[str, Meta(min_length=2, max_length=256)] = TEMPLATE
    priority: PriorityClass = PriorityClass.NORMAL


class Classification(Record, frozen=True):
    """The label that fits a text best, and the score of every label in the order in which they were given."""

    label: str
    scores: tuple[float, ...]


class Classified(Record, frozen=True):
    """One classification for each text; `tokens` and `truncated` as in an embedding."""

    model: str
    results: tuple[Classification, ...]
    tokens: int
    truncated: tuple[int, ...] = ()


class EncoderInfo(Record, frozen=True):
    """The encoder. `state` is `missing`, `starting`, `ready` or `refused`; `max_tokens` is its longest text.

    How busy it is, is nil for callers who may not read the metrics.
    """

    model: str
    state: str
    device: str = ""
    dtype: str = ""
    fingerprint: str = ""
    dimensions: int = 0
    max_tokens: int = 0
    batch_tokens: int = 0
    restarts: int | None = None
    waiting_texts: int | None = None
    os_pid: int | None = None
    detail: str = ""
