"""Which model is measured: the default one, from the store that all homes share."""

from __future__ import annotations

import os
from pathlib import Path

from llmos.drivers.models.catalogue import DEFAULT_MODEL
from llmos.drivers.models.location import models_directory
from llmos.drivers.models.store import ModelStore


def model_directory() -> Path:
    """The directory of the model, in the format of transformers. Raises `NotFound` with what to do."""
    return ModelStore(models_directory(None, os.environ)).resolve(DEFAULT_MODEL).directory
