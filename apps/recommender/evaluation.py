"""How good the app is, on a catalogue and ratings with times: MovieLens, as `bench/apps.py` gives it.

`splitting` says what is known and what is to be found. `evaluate` measures four things. Ranking: NDCG@10 and recall@20
of the app's own against popularity (films by how many gave them four stars or more), against what is popular lately
(the app's own without a taste), and against implicit's model as it comes (100 factors, its own settings, stars as
confidences), once for each seed. The language model's opinion: its gain by weight on the window before the last one,
and on the last one with the best of these weights. Cold start: viewers of whom nothing is known but a sentence.
Explanations: how many pass the check at the first try. It runs the code that the app runs, and needs the daemon for the
last three.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from implicit.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

import llmos

from .explaining import Explanation, Wording, explain
from .films import Catalogue, Film, read_films
from .knowledge import LIKED, Knowledge, learn
from .meanings import meanings, said
from .measuring import mean, ndcg, recall
from .opinions import Opinions
from .ranking import WEIGHTS, Shortlist, add_up, first, reordered
from .ratings import People, Person, read_ratings
from .recommender import LOOKED_AT
from .splitting import Viewer, Window, window
from .tastes import SETTINGS, Numbers

VALIDATION, TEST = (0.65, 0.8), (0.8, 1.0)
SEEDS, QUICK_SEEDS = 5, 2
WEIGHTS_TRIED = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)
ASKED = 60
"""Viewers for whom the language model is asked its opinion, in each window."""

EXPLAINED = {Wording.BOUND: 40, Wording.FREE: 20}
QUICK = 10
DEPTH = 20

Rankings = Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class Data:
    """Two tables as CSV, as the app's files hold them."""

    films: str
    ratings: str


@dataclass(frozen=True, slots=True)
class Quality:
    """Means over viewers."""

    ndcg: float
    recall: float


@dataclass(frozen=True, slots=True)
class Ranked:
    """One value for each seed. `better` is the share of viewers, of those for whom the NDCG differs from that of
    implicit's model, for whom the app's own is better, over all seeds."""

    viewers: int
    ours: Sequence[Quality]
    popular: Quality
    lately: Quality
    library: Sequence[Quality]
    better: float


@dataclass(frozen=True, slots=True)
class Tried:
    """A weight of the language model's opinion: the NDCG@10, and its gain over none with the gain's standard error."""

    weight: float
    ndcg: float
    gain: float
    error: float


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the language model's opinion is worth: on the window before by weight, and on the last with the best of
    these weights."""

    viewers: int
    before: Sequence[Tried]
    last: Tried
    without: float

    @property
    def default(self) -> float:
        """The best weight on the window before, if it gains more there than twice its standard error; else 0."""
        best = _best(self.before)
        return best.weight if best.gain > 2 * best.error else 0.0


@dataclass(frozen=True, slots=True)
class ColdStart:
    """Viewers who have rated nothing: with words, by popularity, and by what is popular lately."""

    words: str
    ours: Quality
    popular: Quality
    lately: Quality


@dataclass(frozen=True, slots=True)
class Explained:
    """Shares of explanations."""

    wording: Wording
    count: int
    first_try: float
    by_model: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that was measured."""

    ranked: Ranked
    opinion: Opinion
    cold: Sequence[ColdStart]
    explained: Sequence[Explained]


def evaluate(system: llmos.System, data: Data, quick: bool) -> Evaluation:
    """Measure. `quick` takes fewer seeds, viewers and explanations."""
    catalogue, ratings = read_films(data.films), read_ratings(data.ratings)
    validation, test = (window(catalogue, ratings, *edges) for edges in (VALIDATION, TEST))
    asked = QUICK if quick else ASKED
    knowledge = _knowledge(catalogue, test, 0)
    return Evaluation(
        _ranked(catalogue, test, QUICK_SEEDS if quick else SEEDS),
        _opinion(
            system, _knowledge(catalogue, validation, 0), validation.viewers[:asked], knowledge, test.viewers[:asked]
        ),
        _cold(system, knowledge, test),
        [
            _explained(system, knowledge, test.viewers[: QUICK if quick else EXPLAINED[wording]], wording)
            for wording in Wording
        ],
    )


def ranked(data: Data, seeds: int) -> Ranked:
    """The first of the four alone; it needs no daemon."""
    catalogue = read_films(data.films)
    return _ranked(catalogue, window(catalogue, read_ratings(data.ratings), *TEST), seeds)


def _knowledge(catalogue: Catalogue, window: Window, seed: int) -> Knowledge:
    """Learnt before the window, and then told what is known of its viewers, as the app is told."""
    knowledge = learn(catalogue, People(catalogue, window.past), replace(SETTINGS, seed=seed))
    for viewer in window.viewers:
        for rating in viewer.known.ratings.values():
            knowledge.people.take(rating)
    return knowledge


def _ranked(catalogue: Catalogue, window: Window, seeds: int) -> Ranked:
    viewers = window.viewers
    known = [_knowledge(catalogue, window, seed) for seed in range(seeds)]
    ours = [_rankings(viewers, _shortlists(one, viewers)) for one in known]
    library = [_library(catalogue, window, seed) for seed in range(seeds)]
    pairs = [
        (ndcg(own, viewer.later), ndcg(other, viewer.later))
        for mine, its in zip(ours, library, strict=True)
        for own, other, viewer in zip(mine, its, viewers, strict=True)
    ]
    return Ranked(
        len(viewers),
        [_quality(viewers, one) for one in ours],
        _quality(viewers, _same(viewers, _popular(catalogue, window))),
        _quality(viewers, _same(viewers, known[0].popular)),
        [_quality(viewers, one) for one in library],
        sum(own > other for own, other in pairs) / max(1, sum(own != other for own, other in pairs)),
    )


def _shortlists(knowledge: Knowledge, viewers: Sequence[Viewer]) -> list[Shortlist]:
    return [knowledge.shortlist(viewer.user, DEPTH) for viewer in viewers]


def _rankings(viewers: Sequence[Viewer], shortlists: Sequence[Shortlist]) -> Rankings:
    return [shortlist.films for shortlist in shortlists]


def _same(viewers: Sequence[Viewer], scores: Numbers) -> Rankings:
    """The same scores for everybody, without what each has rated."""
    return [first(scores, viewer.known.ratings, DEPTH).films for viewer in viewers]


def _quality(viewers: Sequence[Viewer], rankings: Rankings) -> Quality:
    pairs = list(zip(rankings, (viewer.later for viewer in viewers), strict=True))
    return Quality(mean([ndcg(*pair) for pair in pairs]), mean([recall(*pair) for pair in pairs]))


def _popular(catalogue: Catalogue, window: Window) -> Numbers:
    liked = [catalogue.position(rating.film) for rating in window.past if rating.stars >= LIKED]
    return np.bincount([film for film in liked if film is not None], minlength=len(catalogue)).astype(np.float32)


def _library(catalogue: Catalogue, window: Window, seed: int) -> Rankings:
    """implicit's model as it comes; viewers are folded in the same way."""
    past = list(People(catalogue, window.past).all().values())
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(random_state=seed, num_threads=1)
        model.fit(_stars(past, len(catalogue)), show_progress=False)
    viewers = window.viewers
    known = _stars([viewer.known for viewer in viewers], len(catalogue))
    films, _ = model.recommend(np.arange(len(viewers)), known, N=DEPTH, recalculate_user=True)
    return [[int(film) for film in row] for row in films]


def _stars(people: Sequence[Person], films: int) -> csr_matrix:
    cells = [(row, film, rating.stars) for row, one in enumerate(people) for film, rating in one.ratings.items()]
    rows, columns, stars = zip(*cells, strict=True)
    return csr_matrix((np.array(stars, dtype=np.float32), (rows, columns)), shape=(len(people), films))


def _opinion(
    system: llmos.System,
    before: Knowledge,
    chosen_on: Sequence[Viewer],
    knowledge: Knowledge,
    viewers: Sequence[Viewer],
) -> Opinion:
    asked = Opinions(system)
    by_weight = _asked(asked, before, chosen_on)
    tried = [_tried(weight, by_weight) for weight in WEIGHTS_TRIED]
    at_last = _asked(asked, knowledge, viewers)
    return Opinion(len(viewers), tried, _tried(_best(tried).weight, at_last), mean(at_last(0.0)))


def _best(tried: Sequence[Tried]) -> Tried:
    """The least of equally good weights that are more than none."""
    return max((one for one in tried if one.weight), key=lambda one: (one.ndcg, -one.weight))


def _tried(weight: float, by_weight: Callable[[float], Sequence[float]]) -> Tried:
    values = by_weight(weight)
    gains = np.array(values) - np.array(by_weight(0.0))
    return Tried(weight, mean(values), float(gains.mean()), float(gains.std() / np.sqrt(len(gains))))


def _asked(opinions: Opinions, knowledge: Knowledge, viewers: Sequence[Viewer]) -> Callable[[float], Sequence[float]]:
    """The NDCG of each viewer by the weight of opinions; each viewer's are asked for once."""
    films = knowledge.catalogue.films
    shortlists = [knowledge.shortlist(viewer.user, LOOKED_AT) for viewer in viewers]
    thought = [
        opinions.of([films[film] for film in knowledge.liked(viewer.user)], [films[film] for film in shortlist.films])
        for viewer, shortlist in zip(viewers, shortlists, strict=True)
    ]

    def quality(weight: float) -> Sequence[float]:
        new = [reordered(*pair, weight).films for pair in zip(shortlists, thought, strict=True)]
        return [ndcg(films, viewer.later) for films, viewer in zip(new, viewers, strict=True)]

    return quality


def _cold(system: llmos.System, knowledge: Knowledge, window: Window) -> Sequence[ColdStart]:
    """What a viewer had rated is left out of every ranking: he would not look for what he knows."""
    found = meanings(system, knowledge.catalogue)
    popular, lately = _popular(knowledge.catalogue, window), knowledge.popular
    baselines = [_quality(window.viewers, _same(window.viewers, scores)) for scores in (popular, lately)]
    results = []
    for name, sentence in (("genres", _genres_sentence), ("titles", _titles_sentence)):
        rankings = []
        for viewer in window.viewers:
            words = said(system, [sentence(knowledge, viewer)])
            scores = add_up(np.zeros_like(lately), lately, found.likeness(words).max(0), WEIGHTS)
            rankings.append(first(scores, viewer.known.ratings, DEPTH).films)
        results.append(ColdStart(name, _quality(window.viewers, rankings), *baselines))
    return results


def _liked(knowledge: Knowledge, viewer: Viewer) -> list[Film]:
    best = sorted(viewer.known.ratings.items(), key=lambda pair: -pair[1].stars)
    liked = [film for film, rating in best if rating.stars >= LIKED] or [film for film, _ in best[:3]]
    return [knowledge.catalogue.films[film] for film in liked]


def _genres_sentence(knowledge: Knowledge, viewer: Viewer) -> str:
    counted = Counter(genre for film in _liked(knowledge, viewer) for genre in film.genres)
    return f"I like {_listed([genre for genre, _ in counted.most_common(3)])} films."


def _titles_sentence(knowledge: Knowledge, viewer: Viewer) -> str:
    return f"I love {_listed([film.name for film in _liked(knowledge, viewer)[:3]])}."


def _listed(words: Sequence[str]) -> str:
    return " and ".join((", ".join(words[:-1]), words[-1])) if len(words) > 1 else "".join(words)


def _explained(system: llmos.System, knowledge: Knowledge, viewers: Sequence[Viewer], wording: Wording) -> Explained:
    found: list[Explanation] = []
    for viewer in viewers:
        film = knowledge.shortlist(viewer.user, 1).films[0]
        found.append(explain(system, knowledge.features(viewer.user, film), wording))
    first_try = mean([float(one.by_model and one.tries == 1) for one in found])
    return Explained(wording, len(found), first_try, mean([float(one.by_model) for one in found]))
