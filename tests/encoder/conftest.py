"""The default encoder, pulled if it is not there yet, and small models of random weights."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from llmos.drivers.models.catalogue import DEFAULT_ENCODER
from llmos.drivers.models.location import models_directory
from llmos.drivers.models.progress import SilentReporter
from llmos.drivers.models.pull import pull
from llmos.drivers.models.store import ModelStore
from llmos.syscalls.abi.errors import DeviceError
from tests.encoder.small_encoders import save_encoder

SmallEncoder = Callable[[str], Path]


@pytest.fixture(scope="session")
def minilm() -> Path:
    """Where the default encoder lies."""
    try:
        return pull(ModelStore(models_directory(None, os.environ)), DEFAULT_ENCODER, SilentReporter()).directory
    except DeviceError as error:
        pytest.skip(f"{DEFAULT_ENCODER} cannot be had here: {error}")


@pytest.fixture(scope="session")
def small_encoder(tmp_path_factory: pytest.TempPathFactory) -> SmallEncoder:
    """The directory of a small model, by the name of its architecture."""
    root = tmp_path_factory.mktemp("encoders")

    def directory(kind: str) -> Path:
        path = root / kind
        if not path.exists():
            save_encoder(kind, path)
        return path

    return directory
