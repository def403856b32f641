"""Long-term memory: recall and latency of a search among ten thousand to a million items, against brute force.

The peer multiplies the query with every vector, in float32, and takes the best ten: exact, and what a program without
an index does. Vectors are the default encoder's of what the standard library says about itself. There are some
thousands of those; further ones are mixed from three of them each, with noise, and so is the million. Queries are made
the same way and are not among the items. The time that the encoder takes for a query is not in it (`embed` measures
that). The million is left out with `--quick`.
"""

from __future__ import annotations

import ast
import os
import re
import sysconfig
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from bench.report import Fact, Figure, Findings, compare, percentile
from llmos.drivers.encoder.encoder import load_encoder
from llmos.drivers.encoder.settings import DeviceKind, EncoderSettings
from llmos.drivers.models.catalogue import DEFAULT_ENCODER
from llmos.drivers.models.location import models_directory
from llmos.drivers.models.store import ModelStore
from llmos.drivers.store.memory.futures import done
from llmos.drivers.store.memory.quotas import Quotas
from llmos.drivers.store.memory.store import MemoryStore
from llmos.kernel.ports.encoder import Embedding, EncodeOrder
from llmos.kernel.ports.memory import Draft, Question
from llmos.syscalls.abi.memory import MemoryRecord, SearchMode

SIZES, QUICK_SIZES = (10_000, 100_000, 1_000_000), (10_000,)
SENTENCES, QUERIES, BEST = 4_000, 100, 10
UNDER_WAY = 512
NAMESPACE, NOW = "bench/notes", 1.0
MIXED, NOISE = 3, 0.4
QUOTAS = Quotas(items=1 << 24, bytes=1 << 40)

Vectors = npt.NDArray[np.float32]


def run(quick: bool) -> Findings:
    """Measure each size in a database of its own."""
    sentences = list(_sentences())[: SENTENCES // 8 if quick else SENTENCES]
    real, chance = _encoded(sentences), np.random.default_rng(1)
    figures: list[Figure] = []
    facts = [Fact("sentences", len(sentences))]
    for size in QUICK_SIZES if quick else SIZES:
        vectors, queries = _vectors(real, size, chance), _mixed(real, QUERIES, chance)
        with TemporaryDirectory(prefix="llmos-") as folder:
            found, known = _measure(Path(folder), sentences, vectors, queries, f"{size:,} items")
            figures += found
            facts += known
    return Findings(tuple(figures), tuple(facts))


def _measure(
    folder: Path, sentences: Sequence[str], vectors: Vectors, queries: Vectors, name: str
) -> tuple[list[Figure], list[Fact]]:
    store = MemoryStore(folder / "memory.db", QUOTAS, index_bytes=1 << 34)
    try:
        start = time.perf_counter()
        _fill(store, sentences, vectors)
        filled = time.perf_counter() - start
        start = time.perf_counter()
        _search(store, sentences[0], queries[0], SearchMode.VECTOR)
        loaded = time.perf_counter() - start
        ours, words, brute, recall = _in_turns(store, sentences, vectors, queries)
    finally:
        store.close()
    figures = [
        compare(f"search by meaning, {name}", "ms", _milliseconds(ours), "brute force", _milliseconds(brute), "lower"),
        compare(f"hybrid search, {name}", "ms", _milliseconds(words), "brute force", _milliseconds(brute), "lower"),
    ]
    facts = [
        Fact(f"recall at {BEST}, {name}", recall),
        Fact(f"99th percentile by meaning, {name}", percentile(_milliseconds(ours), 99), "ms"),
        Fact(f"99th percentile hybrid, {name}", percentile(_milliseconds(words), 99), "ms"),
        Fact(f"puts a second, {name}", len(vectors) / filled),
        Fact(f"first search after a start, {name}", loaded, "s"),
    ]
    return figures, facts


def _in_turns(
    store: MemoryStore, sentences: Sequence[str], vectors: Vectors, queries: Vectors
) -> tuple[list[float], list[float], list[float], float]:
    """Seconds of each kind of search, and how many of the truly best are found."""
    ours, hybrid, brute, right = list[float](), list[float](), list[float](), 0
    for number, query in enumerate(queries):
        text = sentences[number % len(sentences)]
        start = time.perf_counter()
        found = _search(store, text, query, SearchMode.VECTOR)
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        _search(store, text, query, SearchMode.HYBRID)
        hybrid.append(time.perf_counter() - start)
        start = time.perf_counter()
        best = _brute_force(vectors, query)
        brute.append(time.perf_counter() - start)
        right += len({int(one.id) for one in found} & best)
    return ours, hybrid, brute, right / (BEST * len(queries))


def _fill(store: MemoryStore, sentences: Sequence[str], vectors: Vectors) -> None:
    waiting: list[Future[MemoryRecord]] = []
    for number, vector in enumerate(vectors):
        text = f"{sentences[number % len(sentences)]} ({number})"
        draft = Draft(NAMESPACE, str(number), text, "bench")
        waiting.append(store.put(draft, _embedding(vector), NOW))
        if len(waiting) == UNDER_WAY:
            for one in waiting:
                one.result()
            waiting.clear()
    for one in waiting:
        one.result()


def _search(store: MemoryStore, text: str, query: Vectors, mode: SearchMode) -> tuple[MemoryRecord, ...]:
    question = Question(NAMESPACE, text, BEST, mode)
    return store.search(question, done(_embedding(query)), NOW).result().records


def _brute_force(vectors: Vectors, query: Vectors) -> set[int]:
    scores = vectors @ query
    return set(np.argpartition(-scores, BEST)[:BEST].tolist())


def _embedding(vector: Vectors) -> Embedding:
    return Embedding(DEFAULT_ENCODER, "bench", len(vector), vector.astype("<f4").tobytes(), (1,))


def _vectors(real: Vectors, size: int, chance: np.random.Generator) -> Vectors:
    """The real ones, and as many mixed ones as are missing."""
    return np.concatenate((real[:size], _mixed(real, max(0, size - len(real)), chance)))


def _mixed(real: Vectors, count: int, chance: np.random.Generator) -> Vectors:
    """Of length 1: a weighted mean of three real ones, and noise of `NOISE` times its length."""
    made = np.empty((count, real.shape[1]), dtype=np.float32)
    for first in range(0, count, 50_000):
        rows = made[first : first + 50_000]
        weights = chance.dirichlet(np.full(MIXED, 0.5), len(rows)).astype(np.float32)
        parts = real[chance.integers(0, len(real), (len(rows), MIXED))]
        rows[:] = _unit(np.einsum("nm,nmd->nd", weights, parts))
        rows += NOISE * _unit(chance.standard_normal(rows.shape, dtype=np.float32))
        rows[:] = _unit(rows)
    return made


def _unit(vectors: Vectors) -> Vectors:
    unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _encoded(sentences: Sequence[str]) -> Vectors:
    model = ModelStore(models_directory(None, os.environ)).resolve(DEFAULT_ENCODER)
    encoder, _ = load_encoder(EncoderSettings(model.name, str(model.directory), model.fingerprint, DeviceKind.CPU))
    parts = [
        np.frombuffer(encoder.run(EncodeOrder(1, tuple(sentences[first : first + 256]))).vectors, "<f4")
        for first in range(0, len(sentences), 256)
    ]
    return np.concatenate(parts).reshape(len(sentences), -1)


def _sentences() -> Iterator[str]:
    """What the standard library's modules, classes and functions say about themselves, sentence by sentence."""
    seen: set[str] = set()
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        for text in _docstrings(ast.parse(path.read_bytes())):
            for sentence in re.split(r"(?<=[.!?])\s+", " ".join(text.split())):
                if 40 < len(sentence) < 200 and sentence not in seen:
                    seen.add(sentence)
                    yield sentence


def _docstrings(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield ast.get_docstring(node) or ""


def _milliseconds(seconds: Sequence[float]) -> list[float]:
    return [second * 1000 for second in seconds]
