"""What a commit changes of what can be found by meaning; it goes to the indexes when the commit is on the disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class VectorAdded:
    """A revision can be found by its vector: float16, as in the database, made by `encoder`."""

    space: int
    revision: int
    encoder: int
    vector: bytes


@dataclass(frozen=True, slots=True)
class RevisionGone:
    """A revision cannot be found any more."""

    space: int
    revision: int


Change = VectorAdded | RevisionGone


@dataclass(frozen=True, slots=True)
class Done(Generic[Result]):
    """What came of a piece of work, and what it changed, in order."""

    result: Result
    changes: tuple[Change, ...] = ()
