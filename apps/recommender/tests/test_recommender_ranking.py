"""Factors, folding in, and what follows for the order of films."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.apps.recommender.films import FilmId
from llmos.apps.recommender.knowledge import Knowledge, learn
from llmos.apps.recommender.ranking import first, reordered
from llmos.apps.recommender.ratings import People, Rating, UserId
from llmos.apps.recommender.tastes import REGULARIZATION, popularity, standard
from llmos.apps.recommender.tests.small_catalogue import small_catalogue, small_ratings

ANNA = UserId("anna")
LEARNT = learn(small_catalogue(), People(small_catalogue(), small_ratings()))
"""Learnt once: what the tests say of people goes into copies."""

said = st.dictionaries(st.integers(0, 19), st.integers(1, 10).map(lambda halves: halves / 2), max_size=10)


def told(stars: dict[int, float]) -> Knowledge:
    """What was learnt, and then told of Anna's ratings by position."""
    catalogue = LEARNT.catalogue
    people = People(catalogue, small_ratings())
    for time, (film, given_stars) in enumerate(stars.items()):
        people.take(Rating(ANNA, catalogue.films[film].id, given_stars, 2000.0 + time))
    return Knowledge(catalogue, people, LEARNT.tastes, LEARNT.popular, LEARNT.learnt)


def share_of_space(knowledge: Knowledge) -> float:
    """Of Anna's first five films, those of space."""
    return sum(film < 10 for film in knowledge.shortlist(ANNA, 5).films) / 5


def test_who_likes_films_of_space_is_recommended_others_of_them() -> None:
    assert share_of_space(told({0: 5.0, 1: 5.0, 2: 4.5})) == 1.0
    assert share_of_space(told({10: 5.0, 11: 5.0, 12: 4.5})) == 0.0


def test_one_rating_changes_the_very_next_recommendation() -> None:
    knowledge = told({0: 5.0, 1: 5.0, 2: 4.5})
    before = knowledge.shortlist(ANNA, 5)
    knowledge.people.take(Rating(ANNA, FilmId("l0"), 5.0, 3000.0))
    after = knowledge.shortlist(ANNA, 5)
    assert before.scores.tolist() != after.scores.tolist()


def test_a_low_rating_counts_too() -> None:
    liked, hated = told({0: 5.0}), told({0: 1.0})
    assert share_of_space(liked) > share_of_space(hated)


@given(said)
def test_what_was_rated_is_not_recommended_and_everything_else_is_ranked(stars: dict[int, float]) -> None:
    films = told(stars).shortlist(ANNA, 20).films
    assert set(films) == set(range(20)) - set(stars)
    assert len(films) == len(set(films))


@given(said)
def test_folding_in_solves_the_equations_of_the_model(stars: dict[int, float]) -> None:
    """Hu, Koren, Volinsky 2008, equation 4, with implicit's reading of a negative confidence: nought, so surely."""
    tastes = LEARNT.tastes
    given_stars = {film: one - 3.0 for film, one in stars.items() if one != 3.0}
    items = tastes._model.item_factors.astype(np.float64)
    left, right = items.T @ items + REGULARIZATION * np.eye(items.shape[1]), np.zeros(items.shape[1])
    for film, confidence in given_stars.items():
        left += (abs(confidence) - 1) * np.outer(items[film], items[film])
        right += max(confidence, 0.0) * items[film]
    assert tastes.factors([given_stars])[0] == pytest.approx(np.linalg.solve(left, right), abs=1e-3)


@given(said)
def test_the_order_in_which_films_were_rated_does_not_matter(stars: dict[int, float]) -> None:
    backwards = dict(reversed(stars.items()))
    one, other = (told(each).shortlist(ANNA, 20) for each in (stars, backwards))
    assert one.scores == pytest.approx(other.scores, abs=1e-4)


def test_somebody_unknown_gets_what_is_popular() -> None:
    shortlist = LEARNT.shortlist(UserId("nobody"), 20)
    assert list(shortlist.films) == np.argsort(-LEARNT.popular, kind="stable").tolist()


def test_learning_again_gives_the_same() -> None:
    again = learn(small_catalogue(), People(small_catalogue(), small_ratings()))
    assert again.shortlist(UserId("u1"), 20).films == LEARNT.shortlist(UserId("u1"), 20).films


def test_words_lift_the_films_that_they_mean() -> None:
    likeness = np.zeros(20, dtype=np.float32)
    likeness[17] = 1.0
    assert LEARNT.shortlist(ANNA, 1, likeness).films == (17,) != LEARNT.shortlist(ANNA, 1).films


def test_features_are_counted_from_the_ratings() -> None:
    knowledge = told({0: 5.0, 1: 4.0, 10: 1.0})
    features = knowledge.features(ANNA, 2)
    assert features.film.id == "s2"
    assert {near.film.id: near.stars for near in features.neighbours}.items() <= {"s0": 5.0, "s1": 4.0}.items()
    assert features.circle is not None
    raters = [one for one in small_ratings() if one.film == "s2"]
    assert 0 < features.circle.rated <= len(raters)
    assert features.circle.liked <= features.circle.rated


def test_a_film_does_not_explain_itself_nor_does_a_user() -> None:
    knowledge = told({0: 5.0, 1: 4.0})
    assert "s0" not in {near.film.id for near in knowledge.features(ANNA, 0).neighbours}
    alone = learn(small_catalogue(), People(small_catalogue(), [Rating(ANNA, FilmId("s0"), 5.0, 1.0)]))
    assert alone.features(ANNA, 0).circle is None


def test_what_was_seen_lately_is_more_popular() -> None:
    day = 86_400.0
    old, new = (Rating(ANNA, FilmId("x"), 5.0, time * day) for time in (0, 240))
    values = popularity(2, [(0, old), (1, new)])
    assert np.expm1(values[0]) == pytest.approx(np.expm1(values[1]) / 2)


def test_an_opinion_without_weight_changes_nothing_and_one_with_weight_does() -> None:
    shortlist = first(np.array([3.0, 2.0, 1.0], dtype=np.float32), (), 3)
    opinions = np.array([-1.0, 0.0, 1.0], dtype=np.float32)
    assert reordered(shortlist, opinions, 0.0).films == (0, 1, 2)
    assert reordered(shortlist, opinions, 10.0).films == (2, 1, 0)


def test_scores_that_are_all_the_same_stay_finite() -> None:
    assert standard(np.ones((2, 3), dtype=np.float32)).tolist() == [[0, 0, 0], [0, 0, 0]]
