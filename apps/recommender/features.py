"""Features: all that an explanation of one recommendation may say, and the plain sentences that say it.

Pure. It does not know a language model. Rule: every value here was looked up in the catalogue or counted in the
ratings; none is guessed.
"""

from __future__ import annotations

from dataclasses import dataclass

from .films import Film


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A film that the user liked: his stars, and in percent how much those who like one film like the other."""

    film: Film
    stars: float
    likeness: int


@dataclass(frozen=True, slots=True)
class Circle:
    """The people whose taste is most like the user's: how many rated the film, how many of them gave it four stars or
    more, and their mean stars, to one decimal."""

    rated: int
    liked: int
    mean: float


@dataclass(frozen=True, slots=True)
class Features:
    """Why a film. `words` is the likeness in percent of its description to what the user said he likes, where he said
    something; `circle` is None when nobody in it rated the film."""

    film: Film
    neighbours: tuple[Neighbour, ...] = ()
    words: int | None = None
    circle: Circle | None = None

    @property
    def films(self) -> tuple[Film, ...]:
        """Every film that may be named, each once, the recommended one first."""
        return tuple(dict.fromkeys((self.film, *(near.film for near in self.neighbours))))


def facts(features: Features) -> tuple[str, ...]:
    """What there is to say, a sentence for each thing."""
    said = [_about_film(features.film)]
    said += [_about_neighbour(near, features.film) for near in features.neighbours]
    if features.words is not None:
        said.append(_about_words(features.words))
    if features.circle is not None:
        said.append(_about_circle(features.circle))
    return tuple(said)


def plain(features: Features) -> str:
    """The explanation without a language model: what the film is, the nearest film that the user liked, and others."""
    said = [_about_film(features.film), *(_about_neighbour(near, features.film) for near in features.neighbours[:1])]
    if features.words is not None and not features.neighbours:
        said.append(_about_words(features.words))
    if features.circle is not None:
        said.append(_about_circle(features.circle))
    return " ".join(said)


def stars_text(stars: float) -> str:
    """`4 stars`, `3.5 stars`, `1 star`."""
    return f"{stars:g} star{'' if stars == 1 else 's'}"


def _about_film(film: Film) -> str:
    return f"{film} is {', '.join(film.genres)}." if film.genres else f"{film} is a film."


def _about_neighbour(near: Neighbour, film: Film) -> str:
    shared = [genre for genre in film.genres if genre in near.film.genres]
    both = f", also {', '.join(shared)}," if shared else ""
    return f"You gave {near.film}{both} {stars_text(near.stars)}, and the taste for both is {near.likeness}% alike."


def _about_circle(circle: Circle) -> str:
    return (
        f"Of viewers with taste like yours, {circle.rated} rated the film and {circle.liked} liked the film, "
        f"with {stars_text(circle.mean)} on average."
    )


def _about_words(likeness: int) -> str:
    return f"Your words and what the catalogue says of the film are {likeness}% alike."
