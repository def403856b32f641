"""Small models, saved once for all tests of the engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

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
