"""The assistant on real data: what the best of several answers is worth, and what it costs; what a transcript costs.

The app's own `evaluation` does the measuring, through the SDK alone; here are the daemon, the data and the figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.daemon import Daemon
from bench.report import Fact, Figure, Findings, compare
from llmos.apps.assistant import evaluation
from llmos.apps.assistant.evaluation import Answered
from tests.datasets import CHATTERBOT_CORPUS, obtain

_GREEDY = "one greedy answer"


def measure(running: Daemon, quick: bool) -> Findings:
    """Evaluate it in a daemon. Raises `CannotBeHad`."""
    corpus = obtain(CHATTERBOT_CORPUS) / "chatterbot_corpus" / "data" / "english"
    with running.connect() as system:
        found = evaluation.evaluate(system, corpus, quick)
    return Findings((*_accuracy(found.answered), *_cost(found)), tuple(_facts(found)))


def _accuracy(answered: Sequence[Answered]) -> Iterable[Figure]:
    count = len(answered)
    greedy = sum(one.greedy for one in answered) / count
    for name, right in (
        ("by likelihood", [one.likelihood for one in answered]),
        ("by agreement", [one.agreement for one in answered]),
        ("by an oracle", [one.any for one in answered]),
    ):
        if greedy:
            share = sum(right) / count
            yield compare(f"right answers, best of 4 {name}", "share", [share], _GREEDY, [greedy], "higher")


def _cost(found: evaluation.Evaluation) -> Iterable[Figure]:
    seconds, peers = [one.all_seconds for one in found.costs], [one.greedy_seconds for one in found.costs]
    yield compare("best of 4", "s", seconds, _GREEDY, peers, "lower")
    tokens, peers = [float(one.all_tokens) for one in found.costs], [float(one.greedy_tokens) for one in found.costs]
    yield compare("tokens of best of 4", "tokens", tokens, _GREEDY, peers, "lower")
    yield compare("a long answer with its transcript", "s", found.logged, "the SDK alone", found.plain, "lower")


def _facts(found: evaluation.Evaluation) -> Iterable[Fact]:
    yield Fact("questions", len(found.answered))
    yield Fact("of them right greedily", sum(one.greedy for one in found.answered))
    for name, ways in (
        ("likelihood", [(one.likelihood, one.greedy) for one in found.answered]),
        ("agreement", [(one.agreement, one.greedy) for one in found.answered]),
    ):
        yield Fact(f"right by {name} and wrong greedily", sum(way and not greedy for way, greedy in ways))
        yield Fact(f"wrong by {name} and right greedily", sum(greedy and not way for way, greedy in ways))
    yield Fact("pages of a long context", found.pages.pages)
    yield Fact(f"of them shared with {found.pages.children} alternatives", found.pages.shared)
    yield Fact("seconds to fork them", found.pages.fork_seconds, "s")
