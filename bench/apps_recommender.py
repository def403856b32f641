"""The app `recommender` on MovieLens: its own `evaluation`, and the figures. `bench/apps.py` calls `measure`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.daemon import Daemon
from bench.report import Fact, Figure, Findings, compare
from llmos.apps.recommender.evaluation import ColdStart, Data, Evaluation, Opinion, Quality, Ranked, evaluate
from tests.movielens import movielens


def measure(running: Daemon, quick: bool) -> Findings:
    """Evaluate it in a daemon. Raises `CannotBeHad`."""
    tables = movielens()
    with running.connect() as system:
        found = evaluate(system, Data(tables.films, tables.ratings), quick)
    return Findings((*_ranked(found.ranked), *_cold(found.cold), _opinion(found.opinion)), tuple(_facts(found)))


def _ranked(found: Ranked) -> Iterable[Figure]:
    seeds = len(found.ours)
    for peer, theirs in (
        ("implicit as it comes", found.library),
        ("popularity", [found.popular] * seeds),
        ("popular lately", [found.lately] * seeds),
    ):
        yield from _compared(f"{found.viewers} viewers", found.ours, peer, theirs)


def _cold(found: Sequence[ColdStart]) -> Iterable[Figure]:
    for one in found:
        for peer, theirs in (("popularity", one.popular), ("popular lately", one.lately)):
            yield from _compared(f"cold start, {one.words} in words", [one.ours], peer, [theirs])


def _compared(name: str, ours: Sequence[Quality], peer: str, theirs: Sequence[Quality]) -> Iterable[Figure]:
    yield compare(f"NDCG@10, {name}", "", [one.ndcg for one in ours], peer, [one.ndcg for one in theirs], "higher")
    yield compare(
        f"recall@20, {name}", "", [one.recall for one in ours], peer, [one.recall for one in theirs], "higher"
    )


def _opinion(found: Opinion) -> Figure:
    name = f"NDCG@10, {found.viewers} viewers, the model's opinion with weight {found.last.weight:g}"
    return compare(name, "", [found.last.ndcg], "without", [found.without], "higher")


def _facts(found: Evaluation) -> Iterable[Fact]:
    yield Fact("share of viewers for whom NDCG is better than implicit's as it comes", found.ranked.better)
    for tried in found.opinion.before:
        name = f"on the window before, weight {tried.weight:g} of the model's opinion"
        yield Fact(f"NDCG@10 {name}", tried.ndcg)
        yield Fact(f"gain {name}", tried.gain)
        yield Fact(f"standard error of the gain {name}", tried.error)
    yield Fact("gain on the last window", found.opinion.last.gain)
    yield Fact("standard error of the gain on the last window", found.opinion.last.error)
    yield Fact("weight of the model's opinion that follows", found.opinion.default)
    for one in found.explained:
        name = f"{one.count} explanations, wording {one.wording}"
        yield Fact(f"{name}: pass at the first try", one.first_try)
        yield Fact(f"{name}: by the model", one.by_model)
