"""Where the model store of a home lies.

Converted models are large and the same for everybody, so homes share one store unless told otherwise:
`LLMOS_MODELS` names it; else a home that has a directory `models` of its own uses that; else it is in the
user's data directory.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

VARIABLE = "LLMOS_MODELS"


def models_directory(home: Path | None, environment: Mapping[str, str]) -> Path:
    """The directory of the store, which need not exist yet. `environment` is that of the OS process."""
    if named := environment.get(VARIABLE):
        return Path(named).expanduser().absolute()
    if home is not None and (home / "models").is_dir():
        return (home / "models").absolute()
    return _user_data(environment) / "llmos" / "models"


def _user_data(environment: Mapping[str, str]) -> Path:
    named = environment.get("XDG_DATA_HOME", "")
    return Path(named) if Path(named).is_absolute() else Path.home() / ".local" / "share"
