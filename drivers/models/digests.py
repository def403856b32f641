"""Digests that tell models apart: of a whole file, and a quick one of a model directory.

The quick one reads small files whole and samples big ones, so that it takes milliseconds for gigabytes. It
names a model among honest ones (another fine-tuning differs in every block); it is no defence against
forged weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

BLOCK = 1 << 20
SMALL = 1 << 24
SAMPLES = 64
SAMPLE = 1 << 14
FINGERPRINTED = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
)
TEMPLATE = "chat_template.jinja"


def sha256_of(path: Path, advance: Callable[[int], None]) -> str:
    """SHA-256 of a file, in hexadecimal; `advance` hears the bytes as they are read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            advance(len(block))
    return digest.hexdigest()


def fingerprint(directory: Path) -> str:
    """A name for weights, configuration, tokenizer and template of a model directory, wherever it lies."""
    digest = hashlib.sha256()
    for path in _parts(directory):
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        _update(digest.update, path, size)
    return digest.hexdigest()


def _parts(directory: Path) -> list[Path]:
    found = {path for pattern in (*FINGERPRINTED, TEMPLATE) for path in directory.glob(pattern) if path.is_file()}
    return sorted(found)


def _update(update: Callable[[bytes], object], path: Path, size: int) -> None:
    with path.open("rb") as file:
        if size <= SMALL:
            update(file.read())
            return
        for sample in range(SAMPLES):
            file.seek(sample * (size - SAMPLE) // (SAMPLES - 1))
            update(file.read(SAMPLE))
