"""The check of explanations, and the sentences that are made to pass it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos.apps.recommender.checking import LONGEST, faults
from llmos.apps.recommender.features import Circle, Features, Neighbour, facts, plain
from llmos.apps.recommender.films import Film, FilmId
from llmos.apps.recommender.tests.small_catalogue import film
from llmos.apps.recommender.vocabulary import GENRE_WORDS, WORDS
from llmos.apps.recommender.wording import pattern

ALIEN = film("Alien", 1979, "Horror", "Sci-Fi")
ALIENS = film("Aliens", 1986, "Action", "Sci-Fi")
FEATURES = Features(ALIEN, (Neighbour(ALIENS, 4.5, 83),), 41, Circle(12, 9, 4.2))

TRUE = (
    "You gave Aliens 4.5 stars, so you might like Alien.",
    "Alien (1979) is a horror film. You loved Aliens (1986), which is action.",
    "Alien and Aliens are both science fiction films.",
    "9 of 12 viewers like you liked Alien, with a mean of 4.2 stars.",
    "The taste for Aliens is 83% alike.",
    "Your words and Alien are 41 percent alike.",
    "It is a Sci-Fi film of 1979.",
)
FALSE = (
    "Alien is a Sci-Fi film by Ridley Scott.",
    "Alien (1986) is great.",
    "You gave Alien 4.5 stars.",
    "You gave Aliens 5 stars.",
    "You gave Aliens 4.2 stars, and Alien is like it.",
    "You loved Aliens (1986), a horror film.",
    "Alien 3 is Horror.",
    "Most viewers liked Alien.",
    "You did not like Aliens.",
    "Alien is a comedy.",
    "Alien (1979) is a horror film, and you loved Aliens (1986).",
    "Alien won an award.",
    "You gave Aliens 83%.",
    "12 of 12 viewers and 13 viewers liked Alien.",
    "Two viewers liked Alien.",
    "Alien is from 1980.",
    "Alien is <b>great</b>.",
    "I like it.",
    "",
    "Alien. " * LONGEST,
)


@pytest.mark.parametrize("text", TRUE)
def test_what_the_features_say_passes(text: str) -> None:
    assert faults(text, FEATURES) == ()


@pytest.mark.parametrize("text", FALSE)
def test_what_the_features_do_not_say_is_a_fault(text: str) -> None:
    assert faults(text, FEATURES)


def test_a_fault_names_what_is_wrong() -> None:
    assert faults("Alien is a film by Ridley.", FEATURES) == ("'Ridley' is not in the features",)


def test_a_name_within_a_longer_name_is_not_taken_for_it() -> None:
    features = Features(film("Toy Story 2", 1999, "Comedy"), (Neighbour(film("Toy Story", 1995, "Comedy"), 5, 90),))
    assert faults("You gave Toy Story 5 stars, so you might like Toy Story 2.", features) == ()
    assert faults("You might like Toy Story 3.", features)


def test_the_vocabulary_has_no_genre_number_or_negation() -> None:
    forbidden = {
        "one",
        "two",
        "three",
        "hundred",
        "first",
        "second",
        "most",
        "many",
        "few",
        "all",
        "every",
        "no",
        "not",
    }
    assert not WORDS & forbidden
    assert not WORDS & {word.casefold() for word in (*GENRE_WORDS, *GENRE_WORDS.values())}
    assert all(word == word.casefold() for word in WORDS)


titles = st.from_regex(r"[A-Z][a-z]{2,8}(,? [A-Z0-9][a-z]{1,8}\.?){0,3}[!?]?", fullmatch=True)
"""Realistic ones: stops, numbers and commas within, and ends that end sentences."""

genres = st.lists(
    st.sampled_from(("Action", "Comedy", "Film-Noir", "Horror", "Sci-Fi", "War")), unique=True, max_size=3
)


@st.composite
def films(draw: st.DrawFn) -> Film:
    title = draw(titles)
    return Film(FilmId(title), title, draw(st.none() | st.integers(1900, 2030)), tuple(draw(genres)))


@st.composite
def all_features(draw: st.DrawFn) -> Features:
    some = draw(st.lists(films(), min_size=1, max_size=4, unique_by=lambda one: one.title))
    stars = st.integers(1, 10).map(lambda halves: halves / 2)
    near = tuple(Neighbour(one, draw(stars), draw(st.integers(1, 100))) for one in some[1:])
    rated = draw(st.integers(1, 50))
    circle = Circle(rated, draw(st.integers(0, rated)), round(draw(st.floats(0.5, 5)), 1))
    words = draw(st.none() | st.integers(1, 100))
    return Features(some[0], near, words, draw(st.none() | st.just(circle)))


@settings(max_examples=50)
@given(all_features())
def test_the_plain_explanation_passes(features: Features) -> None:
    assert faults(plain(features), features) == ()


@settings(max_examples=50)
@given(all_features())
def test_every_fact_passes_by_itself(features: Features) -> None:
    for fact in facts(features):
        if features.film.genres or str(features.film) in fact or features.neighbours:
            assert [one for one in faults(fact, features) if "names no film" not in one] == []


@settings(max_examples=50)
@given(st.data(), all_features())
def test_every_sentence_that_the_wording_allows_passes(data: st.DataObject, features: Features) -> None:
    text = data.draw(st.from_regex(pattern(features), fullmatch=True))
    assert faults(text, features) == ()


@settings(max_examples=50)
@given(all_features(), st.integers(0, 9999))
def test_a_number_that_was_not_counted_is_a_fault(features: Features, number: int) -> None:
    circle = features.circle
    counted = {one.film.year for one in features.neighbours} | {features.film.year}
    counted |= {circle.rated, circle.liked} if circle is not None else set()
    title = features.film.title
    text = f"You might like {title} for {number} reasons."
    if number not in counted and f"{number}" not in title:
        assert faults(text, features)


@settings(max_examples=50)
@given(all_features(), st.from_regex(r"[A-Z][a-z]{3,9}", fullmatch=True))
def test_a_name_that_is_in_no_feature_is_a_fault(features: Features, name: str) -> None:
    known = " ".join(str(one) for one in features.films).casefold()
    genre_words = {word.casefold() for one in features.films for word in one.genres} | set(GENRE_WORDS)
    stem = re.sub("(ies|s)$", "", name.casefold())
    if name.casefold() not in WORDS and name.casefold() not in known and not any(stem in word for word in genre_words):
        assert faults(f"{features.film.title} is a film with {name}.", features)


@settings(max_examples=50)
@given(all_features(), st.text(max_size=200))
def test_no_text_breaks_the_check(features: Features, text: str) -> None:
    faults(text, features)
