"""A catalogue of two kinds of films, and people who like the one kind or the other. Made up but for the titles."""

from __future__ import annotations

import random

from llmos.apps.recommender.films import COLUMNS, Catalogue, Film, FilmId, read_films
from llmos.apps.recommender.ratings import COLUMNS as RATING_COLUMNS
from llmos.apps.recommender.ratings import Rating, read_ratings
from llmos.apps.recommender.tables import write_table

SPACE = (
    "Alien",
    "Aliens",
    "Solaris",
    "Moon",
    "Gravity",
    "Star Wars",
    "Contact",
    "Interstellar",
    "Sunshine",
    "Dark Star",
)
LOVE = (
    "Notting Hill",
    "Amelie",
    "Titanic",
    "Casablanca",
    "Emma",
    "Ghost",
    "Sabrina",
    "Pretty Woman",
    "Chocolat",
    "Gigi",
)

FILMS = write_table(
    COLUMNS,
    [(f"s{number}", title, 1979 + number, "Sci-Fi|Thriller") for number, title in enumerate(SPACE)]
    + [(f"l{number}", title, 1940 + number, "Comedy|Romance") for number, title in enumerate(LOVE)],
)


def _ratings() -> str:
    chance = random.Random(1)
    rows = []
    for user in range(40):
        liked, other = ("s", "l") if user % 2 else ("l", "s")
        rows += [
            (f"u{user}", f"{liked}{film}", chance.choice((4, 4.5, 5)), 1000 + user)
            for film in chance.sample(range(10), 6)
        ]
        rows += [
            (f"u{user}", f"{other}{film}", chance.choice((1, 2)), 1000 + user) for film in chance.sample(range(10), 2)
        ]
    return write_table(RATING_COLUMNS, rows)


RATINGS = _ratings()


def small_catalogue() -> Catalogue:
    """Twenty films: ten of space, then ten of love."""
    return read_films(FILMS)


def small_ratings() -> list[Rating]:
    """Eight ratings of each of forty people."""
    return read_ratings(RATINGS)


def film(title: str, year: int | None = 1979, *genres: str) -> Film:
    """Some film."""
    return Film(FilmId(title), title, year, genres or ("Horror", "Sci-Fi"))
