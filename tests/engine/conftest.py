"""Small models, saved once for all tests of the engine, and where the default model is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import LlamaConfig

from llmos.drivers.models.location import models_directory
from llmos.drivers.models.store import ModelStore
from llmos.syscalls.abi.errors import NotFound
from tests.engine.plan_driver import PlanDriver
from tests.engine.small_models import CONFIGURATIONS, save_model

ModelDirectory = Callable[[str], Path]


@pytest.fixture(scope="session")
def model_directory(tmp_path_factory: pytest.TempPathFactory) -> ModelDirectory:
    """The directory of a small model, by the name of its architecture."""
    root = tmp_path_factory.mktemp("models")

    def directory(name: str) -> Path:
        path = root / name
        if not path.exists():
            save_model(CONFIGURATIONS[name](), path)
        return path

    return directory


@pytest.fixture
def driver(model_directory: ModelDirectory) -> PlanDriver:
    """An engine with a small Llama."""
    return PlanDriver(model_directory("llama"))


@pytest.fixture(scope="session")
def default_directory() -> Path:
    """Where the default model is; it is not fetched for these tests alone."""
    try:
        return ModelStore(models_directory(None, os.environ)).resolve("smollm2:135m").directory
    except NotFound as error:
        pytest.skip(f"the default model is not here: {error}")


@pytest.fixture(scope="session")
def adversary(default_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows nothing, with the default model's own tokenizer."""
    directory = tmp_path_factory.mktemp("adversary")
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.5,
    )
    save_model(config, directory, end=2)
    (directory / "tokenizer.json").write_bytes((default_directory / "tokenizer.json").read_bytes())
    return directory
