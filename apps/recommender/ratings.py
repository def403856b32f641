"""What people have said: ratings and words, and the lines in which a journal keeps them.

Pure. It does not know where the lines are kept. Rules: stars go from a half to five in halves; the later of two ratings
of one film counts; a line is whole when its checksum is right, and a line that is not whole was never acknowledged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NewType
from zlib import crc32

import msgspec

import llmos

from .films import Catalogue, FilmId
from .tables import read_table

UserId = NewType("UserId", str)

COLUMNS = ("user", "item", "stars", "time")
LONGEST_WORDS = 500
LONGEST_USER = 200
MOST_WISHES = 20
"""How many of the latest sentences of one user count."""


class Rating(msgspec.Struct, frozen=True, tag="rating"):
    """How a user liked a film. `time` in seconds since 1970."""

    user: UserId
    film: FilmId
    stars: float
    time: float


class Wish(msgspec.Struct, frozen=True, tag="wish"):
    """What a user says he likes, in his own words."""

    user: UserId
    words: str
    time: float


Entry = Rating | Wish


@dataclass(frozen=True, slots=True)
class Decoded:
    """What lines say. `taken` is how many bytes of whole lines there were, `damaged` how many lines say nothing."""

    entries: tuple[Entry, ...]
    taken: int
    damaged: int


@dataclass(slots=True, eq=False)
class Person:
    """What one user has said: the latest rating of each film, by its position, oldest first; and words."""

    ratings: dict[int, Rating] = field(default_factory=dict)
    wishes: list[str] = field(default_factory=list)

    def take(self, entry: Entry, catalogue: Catalogue) -> None:
        """Remember it. A film that has left the catalogue is passed over."""
        match entry:
            case Rating(film=film):
                if (position := catalogue.position(film)) is not None:
                    self.ratings.pop(position, None)
                    self.ratings[position] = entry
            case Wish(words=words):
                self.wishes = [*self.wishes, words][-MOST_WISHES:]


class People:
    """Everybody, from the entries so far."""

    def __init__(self, catalogue: Catalogue, entries: Iterable[Entry] = ()) -> None:
        self._catalogue = catalogue
        self._people: dict[UserId, Person] = {}
        for entry in entries:
            self.take(entry)

    def take(self, entry: Entry) -> None:
        """Remember it."""
        self._people.setdefault(entry.user, Person()).take(entry, self._catalogue)

    def person(self, user: UserId) -> Person:
        """What a user has said; somebody unknown has said nothing."""
        return self._people.get(user, Person())

    def all(self) -> Mapping[UserId, Person]:
        """Everybody who has said something."""
        return self._people


def check_stars(stars: float) -> float:
    """The stars. Raises `InvalidArgument`."""
    if not 0.5 <= stars <= 5 or not math.isclose(stars * 2, round(stars * 2)):
        raise llmos.InvalidArgument(f"{stars} are no stars", "0.5 to 5, in halves")
    return round(stars * 2) / 2


def check_words(words: str) -> str:
    """The words, in one line. Raises `InvalidArgument`."""
    line = " ".join(words.split())
    if not 0 < len(line) <= LONGEST_WORDS:
        raise llmos.InvalidArgument(f"{len(line)} characters are no wish", f"1 to {LONGEST_WORDS} characters")
    return line


def check_user(name: str) -> UserId:
    """A user by the name that the terminal or the table of ratings gives. Raises `InvalidArgument`."""
    if not 0 < len(name) <= LONGEST_USER or not name.isprintable() or name.startswith("@"):
        raise llmos.InvalidArgument(
            f"{name[:40]!r} cannot be a user", f"1 to {LONGEST_USER} printable characters that do not begin with @"
        )
    return UserId(name)


def caller_user(tenant: str, principal: str, name: str = "") -> UserId:
    """The user `name` of an app or a person that calls: nobody else's name gives the same."""
    return UserId(f"@{tenant}/{principal}/{check_user(name) if name else ''}")


def read_ratings(text: str) -> list[Rating]:
    """Ratings from CSV with the columns `user`, `item`, `stars` and `time`, in their order of time.

    Raises `InvalidArgument` with the row that is wrong.
    """
    rows = enumerate(read_table("ratings", text, COLUMNS), 2)
    return sorted((_rating(row, *values) for row, values in rows), key=lambda rating: rating.time)


def encode(entry: Entry) -> bytes:
    """A line. It begins with an end of line too, so that it is whole after whatever was torn before it."""
    said = msgspec.json.encode(entry)
    return b"\n%08x %s\n" % (crc32(said), said)


def decode(data: bytes) -> Decoded:
    """The whole lines at the beginning of the data."""
    taken = data.rfind(b"\n") + 1
    lines = [line for line in data[:taken].split(b"\n") if line]
    found = [_entry(line) for line in lines]
    entries = tuple(entry for entry in found if entry is not None)
    return Decoded(entries, taken, len(lines) - len(entries))


def _entry(line: bytes) -> Entry | None:
    checksum, _, said = line.partition(b" ")
    if checksum != b"%08x" % crc32(said):
        return None
    try:
        entry: Entry = msgspec.json.decode(said, type=Entry)
    except msgspec.MsgspecError:
        return None
    return entry


def _rating(row: int, user: str, film: str, stars: str, time: str) -> Rating:
    try:
        return Rating(check_user(user), FilmId(film), check_stars(float(stars)), float(time))
    except (ValueError, llmos.InvalidArgument) as error:
        raise llmos.InvalidArgument(f"ratings, row {row}: {error}") from None
