"""A model directory in transformers' format with a few bytes of weights; whole, as far as the store can tell."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file


def write_small_directory(directory: Path, seed: int = 0) -> Path:
    """Write configuration, weights and tokenizer."""
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 3}))
    (directory / "tokenizer.json").write_text(json.dumps({"version": "1.0", "seed": seed}))
    weights = np.random.default_rng(seed).standard_normal((8, 8), dtype=np.float32)
    save_file({"weight": weights}, directory / "model.safetensors")
    return directory
