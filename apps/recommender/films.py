"""Films: what the catalogue says of them, and how a catalogue is read.

Pure. It does not know who rates them. Rules: a film is known by its id, which is unique; its position in the catalogue
is its row in every matrix of this app.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NewType

import llmos

from .tables import read_table

FilmId = NewType("FilmId", str)

COLUMNS = ("item", "title", "year", "genres")
NO_GENRES = "(no genres listed)"

_ARTICLE_LAST = re.compile(r"(.+), (The|A|An)$")
_OTHER_TITLES = re.compile(r"\s*\(.*\)$")


@dataclass(frozen=True, slots=True)
class Film:
    """One film. `year` is that of its release, where it is known."""

    id: FilmId
    title: str
    year: int | None
    genres: tuple[str, ...]

    def __str__(self) -> str:
        return self.title if self.year is None else f"{self.title} ({self.year})"

    @property
    def name(self) -> str:
        """The title as people say it: without the titles in other languages that follow in brackets."""
        return _OTHER_TITLES.sub("", self.title) or self.title

    @property
    def description(self) -> str:
        """All that is known of it, for an encoder."""
        return f"{self}: {', '.join(self.genres)}" if self.genres else str(self)


class Catalogue:
    """All films, in the order of their positions."""

    def __init__(self, films: Iterable[Film]) -> None:
        self.films: Sequence[Film] = tuple(films)
        self._positions = {film.id: position for position, film in enumerate(self.films)}
        if not self.films or len(self._positions) < len(self.films):
            raise llmos.InvalidArgument("a catalogue has at least one film, and each has an id of its own")
        self.genres = tuple(sorted({genre for film in self.films for genre in film.genres}))

    def __len__(self) -> int:
        return len(self.films)

    def position(self, id: str) -> int | None:
        """The position of a film by its id; None when it is not there."""
        return self._positions.get(FilmId(id))

    def resolve(self, said: str) -> int:
        """The position of the film with this id, or with this title where only one has it. Raises `NotFound`."""
        if FilmId(said) in self._positions:
            return self._positions[FilmId(said)]
        wanted = said.strip().casefold()
        found = [film for film in self.films if wanted in (film.title.casefold(), str(film).casefold())]
        if len(found) == 1:
            return self._positions[found[0].id]
        near = found or self.find(said, 3)
        hint = "; ".join(f"{film.id}: {film}" for film in near[:5]) or "`find WORDS` looks a film up"
        what = "several films are" if found else "there is no film"
        raise llmos.NotFound(f"{what} {said[:80]!r} in the catalogue", hint)

    def find(self, words: str, limit: int = 10) -> list[Film]:
        """Films whose title and year hold all these words, shortest titles first."""
        wanted = words.casefold().split()
        found = [film for film in self.films if all(word in str(film).casefold() for word in wanted)]
        return sorted(found, key=lambda film: (len(film.title), film.title))[:limit]


def read_films(text: str) -> Catalogue:
    """A catalogue from CSV with the columns `item`, `title`, `year` (may be empty) and `genres` (separated by `|`).

    Raises `InvalidArgument` with the row that is wrong.
    """
    return Catalogue(_film(row, values) for row, values in enumerate(read_table("films", text, COLUMNS), 2))


def _film(row: int, values: Sequence[str]) -> Film:
    id, title, year, genres = (value.strip() for value in values)
    if not id or not title:
        raise llmos.InvalidArgument(f"films, row {row}: a film needs an item and a title")
    if year and not (year.isascii() and year.isdigit() and len(year) == 4):
        raise llmos.InvalidArgument(f"films, row {row}: {year!r} is no year", "four digits, or nothing")
    kinds = () if genres in ("", NO_GENRES) else tuple(genres.split("|"))
    return Film(FilmId(id), _ARTICLE_LAST.sub(r"\2 \1", title), int(year) if year else None, kinds)
